package tracker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// DocumentLines are the lines of a YAML document by the paths of its members,
// such as rewards.rules[2].per_plan.
type DocumentLines map[string]int

// Locate adds the line to the detail of a *FieldError. Any other error it
// returns as it is.
func (l DocumentLines) Locate(err error) error {
	fault, ok := errors.AsType[*FieldError](err)
	if !ok {
		return err
	}
	// What is missing has no line of its own, but what it is missing in has.
	for path := fault.Field; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		if line, ok := l[path]; ok {
			return fieldErrorf(fault.Field, "%s (line %d)", fault.Detail, line)
		}
	}
	return err
}

// JSONFromYAML turns a YAML document of plain values into JSON for ParseProgram.
// Numbers keep their digits: a decoder into Go values was rejected, since 0.1
// would pass through a float. Aliases are refused, a few lines of them being a
// gigabyte. The error is a *FieldError with the line in its detail.
func JSONFromYAML(document []byte) ([]byte, DocumentLines, error) {
	dec := yaml.NewDecoder(bytes.NewReader(document))
	var root, more yaml.Node
	if err := dec.Decode(&root); err == io.EOF {
		return nil, nil, fieldErrorf("", "is empty")
	} else if err != nil {
		return nil, nil, fieldErrorf("", "is not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); err != io.EOF {
		return nil, nil, fieldErrorf("", "holds more than one document")
	}
	c := yamlConversion{lines: DocumentLines{}}
	if err := c.write("", root.Content[0]); err != nil {
		return nil, nil, c.lines.Locate(err)
	}
	return c.out.Bytes(), c.lines, nil
}

type yamlConversion struct {
	out   bytes.Buffer
	lines DocumentLines
}

func (c *yamlConversion) write(path string, n *yaml.Node) error {
	c.lines[path] = n.Line
	switch n.Kind {
	case yaml.MappingNode:
		return c.writeMapping(path, n)
	case yaml.SequenceNode:
		c.out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				c.out.WriteByte(',')
			}
			if err := c.write(fmt.Sprintf("%s[%d]", path, i), item); err != nil {
				return err
			}
		}
		c.out.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return c.writeScalar(path, n)
	}
	return fieldErrorf(path, "is an alias: write out what it stands for")
}

func (c *yamlConversion) writeMapping(path string, n *yaml.Node) error {
	c.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			c.lines[path] = key.Line
			return fieldErrorf(path, "has a key that is no plain text")
		}
		if i > 0 {
			c.out.WriteByte(',')
		}
		c.writeText(key.Value)
		c.out.WriteByte(':')
		if err := c.write(memberPath(path, key.Value), n.Content[i+1]); err != nil {
			return err
		}
	}
	c.out.WriteByte('}')
	return nil
}

func (c *yamlConversion) writeScalar(path string, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!null":
		c.out.WriteString("null")
	case "!!bool":
		c.out.WriteString(strings.ToLower(n.Value))
	case "!!int", "!!float":
		if !isJSONNumber(n.Value) {
			return fieldErrorf(path, "%s is a number in a form that JSON has not: write it in plain digits, or in quotes if it is text", n.Value)
		}
		c.out.WriteString(n.Value)
	default: // a time is text in JSON
		c.writeText(n.Value)
	}
	return nil
}

func (c *yamlConversion) writeText(text string) {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("BUG: encode text as JSON: " + err.Error())
	}
	c.out.Write(quoted)
}

// YAMLFromJSON writes a JSON document as YAML, its members in their order.
func YAMLFromJSON(document []byte) ([]byte, error) {
	var root yaml.Node // JSON is YAML
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	plainStyle(&root)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&root), enc.Close()); err != nil {
		return nil, fmt.Errorf("write the document as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// plainStyle takes the braces and quotes away that YAML can do without.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plainStyle(child)
	}
}
