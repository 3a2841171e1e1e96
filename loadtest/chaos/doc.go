// Command chaos hurts a running Waymark in every way it knows while visitors
// click, and then counts what was lost and what was doubled.
//
// A round is load (package loadtest, with a ledger of every answered click and
// accepted action), one to three faults at random moments, recovery, and
// judgement: `waymark loadtest verify` compares the ledger with ClickHouse, id by
// id and view by view, `waymark audit` needs no ledger, every link that was
// acknowledged must lead where it was last told to, no visitor may have been
// answered what nobody should be, and no process may have ended by itself. A few
// faults cost clicks by nature (a disk budget that is used up, a segment that was
// damaged); there what is lost must be equal to what the program counted.
//
// The processes are the real ones, and nothing here knows them from inside: flags,
// HTTP, Kafka, SQL and files. A round is made by its seed. What the machine makes
// of it is not, so a round that failed may need to be played several times.
//
//	main.go         flags; round after round
//	draft.go        which round is next
//	plan.go         which faults meet in a round, and when
//	round.go        a round: load, faults, recovery
//	judge.go        judgement
//	links.go        links written while things break
//	kinds.go        the table of faults; kinds_….go the faults
//	topology.go     how installations are put together; deployment….go the parts
//	part.go         a process through all its lives; process.go one life
//	drain.go        when nothing is under way any more
//	score.go        what came of it all
//	seeds.go        rounds that failed in the past
package main
