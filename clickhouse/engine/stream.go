package engine

// whole answers with rows that are all there.
func (p *reply) whole(format string, s summary, rows []byte) error {
	p.begin(format, s)
	if len(rows) > 0 {
		if _, err := p.Write(rows); err != nil {
			return err
		}
	}
	return p.end()
}

// streamRows answers with rows as the engine finds them. Nothing is sent before the first chunk, so that most errors still get
// a status of their own.
func streamRows(c *connection, p *reply, q *request, sql string) error {
	rows, err := c.stream(sql, q.format, q.params)
	if err != nil {
		return err
	}
	finished := false
	defer func() { rows.close(finished) }()
	for {
		chunk, err := rows.next()
		if err != nil {
			return err
		}
		if !p.began {
			p.begin(q.outputFormat(), summary{})
		}
		if chunk == nil {
			finished = true
			return p.end()
		}
		_, err = p.Write(chunk.bytes())
		chunk.free()
		if err != nil {
			return err
		}
	}
}
