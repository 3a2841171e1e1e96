package main

import "fmt"

// exercised counts the rules and milestones of the example document that pay
// something, and those by which a book has a reward.
func (s *story) exercised(have book) (all, exercised int, err error) {
	document, err := exampleDocument(s.program)
	if err != nil {
		return 0, 0, err
	}
	paid := map[string]bool{}
	for _, e := range have {
		paid[e.rule] = paid[e.rule] || e.cents > 0
	}
	terms, _ := document["rewards"].(map[string]any)
	for _, list := range []string{"rules", "milestones"} {
		rules, _ := terms[list].([]any)
		for _, rule := range rules {
			r, _ := rule.(map[string]any)
			if list == "milestones" && number(r["amount"]) == 0 {
				continue // it gives a badge only
			}
			all++
			if paid[fmt.Sprint(r["name"])] {
				exercised++
			}
		}
	}
	return all, exercised, nil
}
