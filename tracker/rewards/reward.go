package rewards

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"time"

	"github.com/shopspring/decimal"
)

// Reward is what one rule gives one party for one fact, as it should be. An
// amount of 0 says that it earns nothing, and Reason why.
type Reward struct {
	ID       string
	Party    string // who earns
	Rule     string // name of the rule or milestone
	Fact     string // identity of the fact; of a milestone that which reached it
	Time     time.Time
	Referral Referral
	Type     string // of the referrer
	Campaign string

	Base        decimal.Decimal
	Multipliers string // what Base was multiplied by, such as "annual 2 × first three 1.5"
	Cap         string // what cut the amount: cap, cap_monthly or budget; "" for nothing
	Amount      decimal.Decimal
	Version     uint64 // of the programme
	Reason      string // why it is 0

	Changed   time.Time // of the last refund, the zero time for none
	Due       time.Time // not eligible before
	Waiting   string    // what it waits for besides: acceptance or fraud; "" for nothing
	Manual    bool      // somebody must approve it
	ExpiresIn int       // days after it became eligible, 0 for never
}

// idEncoding is that of ids: 26 characters for 16 bytes, in one case, so that
// they can be read out over the phone.
var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// hashID makes an id of its parts. Their lengths are hashed with them, so that
// no two lists of parts run together.
func hashID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return idEncoding.EncodeToString(h.Sum(nil)[:16])
}

// rewardID is the id of what a rule gives a party for a fact. A milestone has
// no fact: it is reached once, by whichever fact that turns out to be.
func rewardID(program, rule, party, fact string) string { return hashID(program, rule, party, fact) }

// PayoutChain is the id of the chain of payouts to a party.
func PayoutChain(program, party string) string { return hashID(program, party) }

// BatchID is the id of the batch of payouts that was asked for with a key of
// the caller's own: the same key names the same batch.
func BatchID(program, key string) string { return hashID(program, "batch", key) }
