package tracker

import "strings"

// Reasons is the bit set of what is special about a hit or an action. Bits are
// stored in ClickHouse, so they keep their meaning for ever; new ones are
// added at the end.
type Reasons uint32

const (
	Bot        Reasons = 1 << iota // the user agent is a known robot, or empty
	Prefetch                       // the browser fetched ahead of its user
	Head                           // a HEAD request
	Preview                        // a messenger or social network drew a preview
	Datacenter                     // the address belongs to a hosting network
	Repeat                         // same visitor and link within the unique window
	GPC                            // DNT: 1 or Sec-GPC: 1: no visitor, no cookie
	Unverified                     // reported from the visitor's own browser
	Inactive                       // the link was switched off, answered 404
	Early                          // the link had not started, answered 404
	Expired                        // the link had expired
	Simulated                      // the time came from the X-Waymark-Time header
	Late                           // of an action: its click lies before the attribution window
)

// Invalid are the reasons that keep a hit out of `hits=valid`: nobody followed
// the link, or there was nothing to follow.
const Invalid = Bot | Prefetch | Head | Preview | Datacenter | Inactive | Early | Expired

// reasonNames are the names of the bits, in bit order, as the API and the SQL
// show them.
var reasonNames = [...]string{
	"bot", "prefetch", "head", "preview", "datacenter", "repeat", "gpc",
	"unverified", "inactive", "early", "expired", "simulated", "late",
}

// Names lists the reasons that are set, in bit order.
func (r Reasons) Names() []string {
	names := make([]string, 0, len(reasonNames))
	for bit, name := range reasonNames {
		if r&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (r Reasons) String() string { return strings.Join(r.Names(), ",") }

// Valid reports whether a hit with these reasons counts as a visit.
func (r Reasons) Valid() bool { return r&Invalid == 0 }
