// Package loadtest is an open-loop load generator for HTTP servers, made to
// measure what a visitor feels and to prove what became of every click.
//
// Requests are due at times that are fixed beforehand (schedule.go), and the
// latency of each runs from the moment it was due, not from when it could be
// sent: a server that stalls for a second is charged with everything that
// queued up behind the stall. A generator that waits for an answer before it asks
// again would leave just those requests out.
//
// Each thread is a loop of its own (loop.go) that owns its connections, its
// random numbers, its visitors and its histograms, and shares nothing on the way
// of a request. It waits in ppoll to the nanosecond and reads sockets by epoll;
// a goroutine per connection would add its wake-up to every latency, and the timers
// of Go are only good to a millisecond when the process is idle.
//
//	schedule.go   when requests are due
//	loop.go       one thread: what is due goes out, what comes back is timed
//	poller.go     epoll and ppoll
//	connection.go a keep-alive connection, plain or TLS
//	response.go   parser of answers
//	source.go     what a loop asks: the next request, and what its answer meant
//	targets.go    source: a list of URLs
//	traffic.go    source: the visitors of a programme of Waymark
//	actions.go    what those visitors do after their click
//	campaign.go   the programme and links of a run
//	recorder.go   latencies and counts; result.go and output.go what becomes of them
//
// What was answered goes into a ledger (package ledger), which package verify
// compares with ClickHouse. Nothing here knows Waymark from inside: it speaks
// HTTP and SQL.
package loadtest
