// Package fraud keeps the log of what is held against referrals, and of what
// people decide about them.
//
// Signals, scores and actions are computed by ClickHouse, from the facts as
// they are now and the rules that were in force when the referral began (see
// the views fraud_signals and fraud_scores). The Assessor writes down what
// changed: an assessment is an entry of the log, and so is a decision. What
// follows from a referral, such as that its rewards wait, goes by the log alone,
// so that somebody can tell later why it was so.
//
// Assessments and decisions are two chains for each referral, whose entries are
// numbered from 0. The place in its chain is the identity of the event that
// carries an entry, and of those that claim one the first counts for ever. So
// several assessors may work at once, and of two people who decide at the same
// time one is told that the other was faster.
package fraud
