package rewards

// Ledger is what the entries of a programme's ledger sum up to.
type Ledger struct {
	Accounts map[string]*Account // by party
	Chains   map[string]*Chain   // by id; those without an entry yet have no account
}

// NewLedger returns one without entries.
func NewLedger() *Ledger {
	return &Ledger{Accounts: map[string]*Account{}, Chains: map[string]*Chain{}}
}

// Chain is the chain of a reward, an empty one if it has no entry yet.
func (l *Ledger) Chain(id string) *Chain {
	c := l.Chains[id]
	if c == nil {
		c = &Chain{ID: id}
		l.Chains[id] = c
	}
	return c
}

// Account is that of a party.
func (l *Ledger) Account(party string) *Account {
	a := l.Accounts[party]
	if a == nil {
		a = &Account{Party: party}
		l.Accounts[party] = a
	}
	return a
}

// Add adds an entry. Those of a chain must come in their order; chains may
// come in any, a payout before the rewards that it pays.
func (l *Ledger) Add(e *Entry) {
	switch e.Kind {
	case Open, Close:
		return
	case Payout:
		l.Account(e.Party).Payouts = e.N + 1
		for _, line := range e.Lines {
			l.Chain(line.Reward).Settle(line, Settlement{e.Time, e.Actor, e.Batch})
		}
		return
	}
	c := l.Chain(e.Chain)
	if c.Length == 0 {
		a := l.Account(e.Party)
		a.Chains = append(a.Chains, c)
	}
	c.Add(e)
}
