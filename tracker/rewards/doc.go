// Package rewards computes what a programme owes to whom. It is pure: facts,
// versions of the programme and decisions go in, rewards and ledger entries
// come out. It reads no clock and does no I/O, so that the accountant that
// writes the ledger, the preview of a changed rule and the audit that recounts
// everything share one answer.
//
// There are two halves:
//
//   - Calculate says what each fact earns, from all that is known now. A late
//     fact, a refund, a new version of the rules all mean: calculate again.
//   - Next compares a reward as it should be with its chain of entries in the
//     ledger and gives the entry that brings them closer. Entries are never
//     changed: what was too much is taken back by an entry of its own.
//
// # Amounts
//
// An amount is the base (fixed, by plan, or per cent of the value without its
// refunds), times the multipliers of the rule that fit, times those of the
// campaign and its seasons, times that of the beneficiary's tier. Then the caps
// cut: of the reward, of the month, of the campaign's budget, in the order of
// the facts' times. It is rounded once, at the very end, half to even, to the
// decimals of the programme; what would exceed a cap by that is rounded down.
//
// # States
//
//	pending ──▶ calculated ──▶ eligible ──▶ paid
//	   │            │             ├───────▶ expired
//	   └────────────┴─────────────┴───────▶ cancelled
//
// A reward is pending for the days of holding, until its referral is accepted
// and was assessed for fraud, and as long as it is held for that; calculated
// while it waits for approval, where that is manual; then eligible (others say
// approved), until a payout takes it (paid; others say claimed) or it expires.
// What was refunded, rejected or is earned no more is cancelled. A paid reward
// stays paid: if its amount shrinks, the party owes the difference, which the
// next payout deducts.
package rewards
