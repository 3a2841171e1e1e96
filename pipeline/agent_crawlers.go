package pipeline

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"waymark/tracker"
)

// crawlerList is the npm package crawler-user-agents (MIT), unchanged.
//
//go:generate sh crawlers/update.sh
//go:embed crawlers/crawler-user-agents.json
var crawlerList []byte

// crawlers recognises robots by the patterns of the list.
//
// There are some 1,500 patterns. One alternation of all of them costs a
// millisecond per user agent, and trying them one after the other is no
// better. Nearly all contain a literal that every match contains too, so the
// literals are found first, by their first three bytes, and a regular
// expression runs only where its literal stands. It is safe for concurrent
// use.
type crawlers struct {
	byTrigram map[trigram][]crawler
	always    []crawler // patterns without such a literal
}

type trigram [3]byte

type crawler struct {
	literal string         // every match contains it
	pattern *regexp.Regexp // nil when the literal is the whole pattern
	reasons tracker.Reasons
}

// newCrawlers reads a list in the format of crawler-user-agents.json.
func newCrawlers(list []byte) (*crawlers, error) {
	var entries []struct {
		Pattern string   `json:"pattern"`
		Tags    []string `json:"tags"`
	}
	if err := json.Unmarshal(list, &entries); err != nil {
		return nil, fmt.Errorf("read the list of crawlers: %w", err)
	}
	c := &crawlers{byTrigram: make(map[trigram][]crawler, len(entries))}
	for _, entry := range entries {
		reasons := tracker.Bot
		if slices.Contains(entry.Tags, "social-preview") {
			reasons |= tracker.Preview
		}
		if err := c.add(entry.Pattern, reasons); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *crawlers) add(pattern string, reasons tracker.Reasons) error {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Errorf("parse pattern %q of the list of crawlers: %w", pattern, err)
	}
	tree = tree.Simplify()
	literals := requiredLiterals(tree)
	indexed := shortest(literals) >= len(trigram{})
	var compiled *regexp.Regexp
	if !indexed || tree.Op != syntax.OpLiteral || tree.Flags&syntax.FoldCase != 0 {
		if compiled, err = regexp.Compile(pattern); err != nil {
			return fmt.Errorf("compile pattern %q of the list of crawlers: %w", pattern, err)
		}
	}
	if !indexed {
		c.always = append(c.always, crawler{pattern: compiled, reasons: reasons})
		return nil
	}
	for _, literal := range literals {
		key := trigram([]byte(literal[:3]))
		c.byTrigram[key] = append(c.byTrigram[key], crawler{literal, compiled, reasons})
	}
	return nil
}

// match returns the reasons that the patterns give a user agent, 0 for none.
func (c *crawlers) match(agent string) tracker.Reasons {
	var found tracker.Reasons
	for i := 0; i+3 <= len(agent); i++ {
		for _, candidate := range c.byTrigram[trigram{agent[i], agent[i+1], agent[i+2]}] {
			if len(agent)-i < len(candidate.literal) || agent[i:i+len(candidate.literal)] != candidate.literal {
				continue
			}
			if found|candidate.reasons != found && (candidate.pattern == nil || candidate.pattern.MatchString(agent)) {
				found |= candidate.reasons
			}
		}
	}
	for _, candidate := range c.always {
		if candidate.pattern.MatchString(agent) {
			found |= candidate.reasons
		}
	}
	return found
}

// requiredLiterals returns texts of which every match of an expression
// contains at least one, or nil where none can be told.
func requiredLiterals(tree *syntax.Regexp) []string {
	switch tree.Op {
	case syntax.OpLiteral:
		if tree.Flags&syntax.FoldCase == 0 {
			return []string{string(tree.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return requiredLiterals(tree.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range tree.Sub {
			if literals := requiredLiterals(sub); shortest(literals) > shortest(best) {
				best = literals
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range tree.Sub {
			literals := requiredLiterals(sub)
			if literals == nil {
				return nil
			}
			all = append(all, literals...)
		}
		return all
	}
	return nil
}

// shortest is the length of the shortest text, 0 where there is none.
func shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	least := len(texts[0])
	for _, text := range texts[1:] {
		least = min(least, len(text))
	}
	return least
}
