package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pathStep is a touch of a journey: when, and over which channel.
type pathStep struct {
	at      time.Time
	channel int
}

// pathWorld is a data set of the shape in which journeys are published: a row
// per interaction with cookie, time, interaction (impression or conversion),
// conversion, value and channel, no links, and most journeys without a conversion.
type pathWorld struct {
	channels []string
	journeys [][]pathStep
	values   []int // of the conversion that ends the journey, 0 for none
}

func newPathWorld(journeys int) *pathWorld {
	w := &pathWorld{channels: []string{"Facebook", "Instagram", "Online Display", "Online Video", "Paid Search"}}
	random := rand.New(rand.NewPCG(88, 42))
	start := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for range journeys {
		var steps []pathStep
		at := start.Add(time.Duration(random.Int64N(int64(12 * 24 * time.Hour)))).Truncate(time.Second)
		for length := 1 + int(random.ExpFloat64()*1.8); len(steps) < length; {
			steps = append(steps, pathStep{at, random.IntN(1 + random.IntN(len(w.channels)))})
			at = at.Add(time.Second + time.Duration(random.Int64N(int64(18*time.Hour)))).Truncate(time.Second)
		}
		value := 0
		if random.IntN(14) <= len(steps)/3 {
			value = 500 + random.IntN(8000)
		}
		w.journeys, w.values = append(w.journeys, steps), append(w.values, value)
	}
	return w
}

// file writes the rows in the order of time within a cookie, and how many there are.
func (w *pathWorld) file(t *testing.T) (path string, rows int) {
	t.Helper()
	var text bytes.Buffer
	table := csv.NewWriter(&text)
	table.Write([]string{"cookie", "time", "interaction", "conversion", "conversion_value", "channel"})
	for i, steps := range w.journeys {
		cookie := fmt.Sprintf("k%07dAfB", i)
		for _, step := range steps {
			table.Write([]string{cookie, step.at.Format(time.RFC3339), "impression", "0", "0.0", w.channels[step.channel]})
			rows++
		}
		if last := steps[len(steps)-1]; w.values[i] > 0 {
			table.Write([]string{cookie, last.at.Format(time.RFC3339), "conversion", "1", fmt.Sprintf("%d.%02d", w.values[i]/100, w.values[i]%100), w.channels[last.channel]})
			rows++
		}
	}
	table.Flush()
	path = filepath.Join(t.TempDir(), "attribution.csv")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, rows
}

// credits recounts a model: conversions and cents by channel.
func (w *pathWorld) credits(model string) (conversions, cents []float64) {
	conversions, cents = make([]float64, len(w.channels)), make([]float64, len(w.channels))
	if model == "markov" || model == "shapley" {
		shares, count, value := w.removal(), 0.0, 0.0
		if model == "shapley" {
			return w.coalitions(func(int) float64 { return 1 }), w.coalitions(func(i int) float64 { return float64(w.values[i]) })
		}
		for _, v := range w.values {
			if v > 0 {
				count, value = count+1, value+float64(v)
			}
		}
		for channel, share := range shares {
			conversions[channel], cents[channel] = share*count, share*value
		}
		return conversions, cents
	}
	for i, steps := range w.journeys {
		if w.values[i] == 0 {
			continue
		}
		weights, total := make([]float64, len(steps)), 0.0
		for k, step := range steps {
			first, last := k == 0, k == len(steps)-1
			switch model {
			case "first":
				weights[k] = map[bool]float64{true: 1}[first]
			case "last":
				weights[k] = map[bool]float64{true: 1}[last]
			case "linear":
				weights[k] = 1
			case "time_decay":
				weights[k] = math.Exp2(-steps[len(steps)-1].at.Sub(step.at).Hours() / (7 * 24))
			case "position":
				if weights[k] = 0.2 / float64(len(steps)-2); first || last {
					weights[k] = 0.4
				}
			}
			total += weights[k]
		}
		for k, step := range steps {
			conversions[step.channel] += weights[k] / total
			cents[step.channel] += weights[k] / total * float64(w.values[i])
		}
	}
	return conversions, cents
}

// removal is the Markov model by its definition: the part of the conversions
// that is missed when a channel leads nowhere, each of the whole of them. The
// chain is walked until next to nobody is under way.
func (w *pathWorld) removal() []float64 {
	n := len(w.channels)
	converted, lost := n+1, n+2 // n is the start
	counts := make([][]float64, n+1)
	for i := range counts {
		counts[i] = make([]float64, n+3)
	}
	for i, steps := range w.journeys {
		at := n
		for _, step := range steps {
			counts[at][step.channel]++
			at = step.channel
		}
		if w.values[i] > 0 {
			counts[at][converted]++
		} else {
			counts[at][lost]++
		}
	}
	chance := func(removed int) float64 {
		here, arrived := make([]float64, n+1), 0.0
		here[n] = 1
		for range 5000 {
			next := make([]float64, n+1)
			for from, mass := range here {
				total := 0.0
				for _, c := range counts[from] {
					total += c
				}
				for to, c := range counts[from] {
					switch {
					case mass == 0 || c == 0 || to == removed || to == lost:
					case to == converted:
						arrived += mass * c / total
					default:
						next[to] += mass * c / total
					}
				}
			}
			here = next
		}
		return arrived
	}
	shares, sum := make([]float64, n), 0.0
	for channel := range shares {
		shares[channel] = chance(-1) - chance(channel)
		sum += shares[channel]
	}
	for channel := range shares {
		shares[channel] /= sum
	}
	return shares
}

// coalitions is the Shapley value by its definition, of the game in which a
// set of channels is worth the conversions of journeys that need no other.
func (w *pathWorld) coalitions(worth func(journey int) float64) []float64 {
	n := len(w.channels)
	need := make([]float64, 1<<n)
	for i, steps := range w.journeys {
		if w.values[i] > 0 {
			set := 0
			for _, step := range steps {
				set |= 1 << step.channel
			}
			need[set] += worth(i)
		}
	}
	of := func(set int) float64 {
		total := 0.0
		for keys, v := range need {
			if keys&^set == 0 {
				total += v
			}
		}
		return total
	}
	shares := make([]float64, n)
	for channel := range shares {
		for set := range 1 << n {
			if set&(1<<channel) == 0 {
				size := bits.OnesCount(uint(set))
				weight := math.Gamma(float64(size+1)) * math.Gamma(float64(n-size)) / math.Gamma(float64(n+1))
				shares[channel] += weight * (of(set|1<<channel) - of(set))
			}
		}
	}
	return shares
}

// journeyCount is how many journeys the tests take. WAYMARK_JOURNEYS=88000 is
// as many as well-known data sets have.
func journeyCount(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("WAYMARK_JOURNEYS")); err == nil {
		return n
	}
	return usual
}

// check compares every model with its recount.
func (w *pathWorld) check(s *server) {
	s.t.Helper()
	for _, model := range []string{"first", "last", "linear", "time_decay", "position", "markov", "shapley"} {
		conversions, cents := w.credits(model)
		began := time.Now()
		got := s.attribution(model, "channel")
		s.t.Logf("%s in %v", model, time.Since(began).Round(time.Millisecond))
		for i, channel := range w.channels {
			if g := got[channel]; math.Abs(g[0]-conversions[i]) > 1e-6*(1+conversions[i]) || math.Abs(g[1]-cents[i]/100) > 0.01+1e-6*float64(len(w.journeys)) {
				s.t.Errorf("%s: %s gets %v, expected %v conversions of %v", model, channel, g, conversions[i], cents[i]/100)
			}
			delete(got, channel)
		}
		if len(got) > 0 {
			s.t.Errorf("%s: credit for %v, too", model, got)
		}
	}
}

// TestEventsImportJourneys: journeys without links, as attribution data sets
// have them, are attributed in every model as a recount says.
func TestEventsImportJourneys(t *testing.T) {
	s := newHome(t).up(t)
	w := newPathWorld(journeyCount(3000))
	file, rows := w.file(t)
	began := time.Now()
	done := s.mustImport(0, file, "--source", "ads", "--ignore-unknown", "--event-map", "impression=click,conversion=purchase", "--set", "campaign=july",
		"--map", "visitor_id=cookie,event=interaction,value=conversion_value")
	t.Logf("%d rows of %d journeys imported in %v", rows, len(w.journeys), time.Since(began).Round(time.Millisecond))
	w.check(s)
	// What the clicks knew, their actions know, without a link.
	conversions, _ := w.credits("linear")
	total := 0.0
	for _, c := range conversions {
		total += c
	}
	if want := fmt.Sprintf("sent: %d click, %.0f purchase\n", rows-int(math.Round(total)), total); !strings.Contains(done.errs.String(), want) {
		t.Errorf("the import says %q, expected %q", done.errs.String(), want)
	}
	if got := s.attribution("linear", "campaign"); len(got) != 1 || math.Abs(got["july"][0]-total) > 1e-6*total {
		t.Errorf("by campaign: %v, expected %v for july", got, total)
	}
	if got, want := s.mustSQL("SELECT conversions FROM waymark.conversion_rates WHERE dimension = 'campaign' AND key = 'july'")[0][0], fmt.Sprintf("%.0f", total); got != want {
		t.Errorf("conversion_rates by campaign: %s, expected %s", got, want)
	}
	s.interrupt()
}

// TestRedirectJourneys: the same journeys through redirects, each in a browser
// of its own that keeps its cookie, a link a channel, at simulated times. The
// back end reports the purchase with the click id of the last redirect.
func TestRedirectJourneys(t *testing.T) {
	s := newHome(t).up(t)
	w := newPathWorld(journeyCount(400))
	for i, channel := range w.channels {
		s.createLink(map[string]any{"code": fmt.Sprint("way-", i), "url": "https://shop.example/", "channel": channel})
	}
	browsers := &fraudWorld{server: s}
	var actions []map[string]any
	report := func() {
		var answer struct{ Accepted int }
		if s.mustCall(http.StatusAccepted, "POST", s.public, "/v1/events", actions, &answer); answer.Accepted != len(actions) {
			t.Fatalf("%d of %d purchases were accepted", answer.Accepted, len(actions))
		}
		actions = nil
	}
	clicks, purchases := 0, 0
	for i, steps := range w.journeys {
		browser, last := &person{address: "203.0.113.7"}, ""
		for _, step := range steps {
			last = browsers.visit(browser, fmt.Sprint("way-", step.channel), step.at)
			clicks++
		}
		if w.values[i] > 0 {
			purchases++
			actions = append(actions, map[string]any{
				"event": "purchase", "click_id": last, "order_id": fmt.Sprint("order-", i), "time": steps[len(steps)-1].at.Format(time.RFC3339),
				"value": fmt.Sprintf("%d.%02d", w.values[i]/100, w.values[i]%100),
			})
		}
		if len(actions) == 5000 {
			report()
		}
	}
	report()
	s.waitRows("stage = 'clicked'", clicks)
	s.waitRows("stage = 'converted'", purchases)
	eventually(t, "every purchase in the views", func() error {
		if got := s.mustSQL("SELECT count() FROM waymark.conversions")[0][0]; got != fmt.Sprint(purchases) {
			return fmt.Errorf("%s of %d", got, purchases)
		}
		return nil
	})
	w.check(s)
	s.interrupt()
}

// attribution asks the report: conversions and value by key.
func (s *server) attribution(model, by string) map[string][2]float64 {
	s.t.Helper()
	var answer struct {
		Rows []struct {
			Key         string
			Conversions float64
			Value       json.Number
		}
	}
	s.mustCall(http.StatusOK, "GET", s.admin, "/v1/reports/attribution?from=2026-01-01&to=2027-01-01&model="+model+"&by="+by, nil, &answer)
	all := map[string][2]float64{}
	for _, row := range answer.Rows {
		value, err := row.Value.Float64()
		if err != nil {
			s.t.Fatal(err)
		}
		all[row.Key] = [2]float64{row.Conversions, value}
	}
	return all
}
