package main

import (
	"context"
	"slices"
)

// plantedChannels say how many of ten visitors sign up, the best channel first.
var plantedChannels = []struct {
	name    string
	signups int
}{{"email", 5}, {"social", 4}, {"link", 3}, {"qr", 2}}

const plantedVisitors = 10

// writeChannels plants the effect of channels: as many come by each, and not as
// many stay. The channels bear the name of the run, for a report by channel
// tells nothing else of runs apart.
func (s *story) writeChannels() {
	m := s.member("channels", s.flow[0])
	for _, planted := range plantedChannels {
		link := s.share(m, s.flow[1], s.campaign+"-plain")
		link.channel = s.run + "-" + planted.name
		for i := range plantedVisitors {
			if i < planted.signups {
				s.refer(link, s.in(s.ripe))
				continue
			}
			s.journeys = append(s.journeys, &journey{
				link: link, userAgent: pick(s, browsers[:]), address: s.address(), hits: []worldHit{{at: s.at(s.in(s.ripe))}},
			})
		}
	}
}

// lookChannels adds what each planted channel brought, and whether the report
// has them in their order.
func (s *story) lookChannels(ctx context.Context, client *apiClient, truth, found ledger) error {
	rows, err := apiRows(ctx, client, "/v1/reports/channels", s.period("channel"))
	if err != nil {
		return err
	}
	byKey := map[string]map[string]any{}
	for _, row := range rows {
		byKey[text(row, "key")] = row
	}
	var rates []float64
	for _, planted := range plantedChannels {
		row, line := byKey[s.run+"-"+planted.name], "channel "+planted.name+", "
		truth[line+"visitors"], found[line+"visitors"] = plantedVisitors, number(row["visitors"])
		truth[line+"signup rate"], found[line+"signup rate"] = float64(planted.signups)/plantedVisitors, number(row["signup_rate"])
		rates = append(rates, -number(row["signup_rate"]))
	}
	truth["channels in the planted order"], found["channels in the planted order"] = 1, 0
	if slices.IsSorted(rates) {
		found["channels in the planted order"] = 1
	}
	return nil
}
