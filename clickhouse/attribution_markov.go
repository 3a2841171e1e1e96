package clickhouse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
	"gonum.org/v1/gonum/mat"

	"waymark/tracker"
)

const (
	// markovKeysMax bounds a chain: its exact solution inverts a matrix with a
	// row for each key, which for 2,000 takes 64 MB and some seconds.
	markovKeysMax = 2000
	// markovStepsMax bounds the rows that tell of it. Beyond either the report
	// is refused, since a chain without its rare keys would be another.
	markovStepsMax = 1_000_000
)

// endMarkov turns the steps of a chain, rows of attribution_markov.sql, into
// the rows of the report.
func endMarkov(answer *tracker.Report, limit int) error {
	chain, converted, direct := newChain(), credit{}, credit{key: directKey}
	for _, row := range answer.Rows {
		kind, source, target := row[0].(string), row[1].(string), row[2].(string)
		journeys, value := float64(row[3].(uint64)), row[4].(decimal.Decimal)
		switch kind {
		case "start":
			chain.starts[chain.state(target)] += journeys
		case "step":
			chain.steps[[2]int{chain.state(source), chain.state(target)}] += journeys
		case "lost":
			chain.lost[chain.state(source)] += journeys
		case "converted":
			chain.converted[chain.state(source)] += journeys
			converted.add(journeys, value)
		case "direct":
			direct.add(journeys, value)
		}
	}
	if len(answer.Rows) > markovStepsMax || len(chain.keys) > markovKeysMax {
		return &tracker.FieldError{Field: "by", Detail: fmt.Sprintf(
			"has over %d keys, or over %d steps from one to another, here, too many for the model markov; ask for a shorter period, one program, or another model", markovKeysMax, markovStepsMax)}
	}
	shares, err := chain.shares()
	if err != nil {
		return err
	}
	var credits []credit
	for i, value := range divide(converted.value, shares) {
		credits = append(credits, credit{chain.keys[i], converted.conversions * shares[i], value})
	}
	if direct.conversions > 0 {
		credits = append(credits, direct)
	}
	answer.Columns, answer.Rows = []string{"key", "conversions", "value"}, creditRows(credits, limit)
	return nil
}

// credit is what a key gets.
type credit struct {
	key         string
	conversions float64
	value       decimal.Decimal
}

func (c *credit) add(conversions float64, value decimal.Decimal) {
	c.conversions += conversions
	c.value = c.value.Add(value)
}

// creditRows are the largest credits, all if the limit is 0, without those of
// keys that no conversion passed.
func creditRows(credits []credit, limit int) [][]any {
	credits = slices.DeleteFunc(credits, func(c credit) bool { return c.conversions == 0 && c.value.IsZero() })
	slices.SortFunc(credits, func(a, b credit) int {
		return cmp.Or(cmp.Compare(b.conversions, a.conversions), strings.Compare(a.key, b.key))
	})
	if limit > 0 && len(credits) > limit {
		credits = credits[:limit]
	}
	rows := make([][]any, len(credits))
	for i, c := range credits {
		rows[i] = []any{c.key, c.conversions, c.value}
	}
	return rows
}

// chain is a first-order Markov chain of journeys, as counts. A journey starts
// at the key of its first touch, steps from touch to touch (also to the same
// key again), and ends converted or not.
type chain struct {
	keys      []string
	index     map[string]int
	starts    []float64 // journeys that begin at a key
	converted []float64 // … that convert after it
	lost      []float64 // … that end there
	steps     map[[2]int]float64
}

func newChain() *chain {
	return &chain{index: map[string]int{}, steps: map[[2]int]float64{}}
}

// state is the number of a key.
func (c *chain) state(key string) int {
	i, known := c.index[key]
	if !known {
		i = len(c.keys)
		c.index[key] = i
		c.keys = append(c.keys, key)
		c.starts, c.converted, c.lost = append(c.starts, 0), append(c.converted, 0), append(c.lost, 0)
	}
	return i
}

// shares divides the conversions between the keys by their removal effects,
// normalised to a sum of one. Without a conversion there is nothing to divide,
// and it returns nil.
//
// The removal effect of a key is the part of all conversions that is missed
// when every journey that comes to the key ends there: E. Anderl, I. Becker, F.
// von Wangenheim and J. H. Schumann, "Mapping the customer journey", International
// Journal of Research in Marketing 33 (2016). A journey that converts by way
// of a key comes to it and, whatever was before, converts from it. So what is
// missed is P(come to the key) · P(convert from the key), and both are read from
// the fundamental matrix N = (I − Q)⁻¹: one inverse serves all keys exactly, where
// solving the chain again without each key would take as many.
func (c *chain) shares() ([]float64, error) {
	n := len(c.keys)
	started, converted := sum(c.starts), sum(c.converted)
	if started == 0 || converted == 0 {
		return nil, nil
	}
	leaving := make([]float64, n)
	for i := range n {
		leaving[i] = c.converted[i] + c.lost[i]
	}
	for step, count := range c.steps {
		leaving[step[0]] += count
	}
	transient := mat.NewDense(n, n, nil)
	for i := range n {
		transient.Set(i, i, 1)
	}
	for step, count := range c.steps {
		transient.Set(step[0], step[1], transient.At(step[0], step[1])-count/leaving[step[0]])
	}
	var visits mat.Dense // expected visits to a key (column) from another (row)
	if err := visits.Inverse(transient); err != nil {
		return nil, fmt.Errorf("solve the Markov chain of %d keys: %w", n, err)
	}
	effects := make([]float64, n)
	for key := range n {
		var come, convert float64
		for other := range n {
			come += c.starts[other] / started * visits.At(other, key)
			convert += visits.At(key, other) * c.converted[other] / leaving[other]
		}
		effects[key] = come / visits.At(key, key) * convert
	}
	total := sum(effects)
	for i := range effects {
		effects[i] /= total
	}
	return effects, nil
}

func sum(list []float64) float64 {
	total := 0.0
	for _, v := range list {
		total += v
	}
	return total
}
