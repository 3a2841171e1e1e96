package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// ImportOptions configure an Import.
type ImportOptions struct {
	Clients ClientOptions
	Links   importLinks    // all of them
	Clicks  ImportedClicks // finds what was imported before
	Geo     *Geo           // for rows with an address; nil: none

	Format  ImportFormat   // "": the input's first byte tells
	Zone    *time.Location // of times that have none; nil: UTC
	Source  string         // name of the other system, which keeps its ids and visitors apart from others'; "" for none
	Mapping ImportMapping

	// From is what was through when an earlier import of the same input ended.
	// Its rows are read again, since later ones may speak of them, and neither
	// sent nor reported.
	From ImportProgress
	// Sent is told of each event that is sent, with its stage, "" for none.
	Sent func(event, stage string)
	// Refused is told of each row that is not taken.
	Refused func(*RowError) error
	// Saved is told about once a second that Kafka has everything so far.
	Saved func(ImportProgress) error

	Logger *slog.Logger // nil: slog.Default()
}

// ImportedClicks is ClickHouse as an import needs it.
type ImportedClicks interface {
	// ImportedClicks returns those imported hits that have one of ids, by id.
	ImportedClicks(ctx context.Context, ids []string) (map[string]*wire.Event, error)
}

// ImportProgress counts what an import is through with.
type ImportProgress struct {
	Bytes   int64 `json:"bytes"` // of the input
	Rows    int64 `json:"rows"`  // read, the three that follow together
	Events  int64 `json:"events"`
	Skipped int64 `json:"skipped"` // by the mapping of events
	Refused int64 `json:"refused"`
}

// Import brings the history of another system to ClickHouse, through
// waymark.actions: clicks, too. What makes an event unique there is its
// identity (see tracker.ActionIdentity), kept for ever, where in waymark.clicks
// it is the ordinal that its node gave it. A file has no node, and whatever
// number its rows were given would change when it is split, sorted or goes on
// where another ends; identities do not.
//
//   - A row's id is its identity, after the name of the source. An action with
//     an order is identified by that, a signup or activation without an id by
//     its user, as at the edge.
//   - A row without any is identified by its content, and rows that are the same
//     by how often they came before in the file. So two equal clicks count as
//     two, and still as two when the file is imported again, sorted or not; only
//     where equal rows stand in different files do they count as often as in the
//     file that has most of them.
//
// A hit has node 0, which no node has, and no ordinal.
//
// An action's click_id names a row with that id: of this input, else of an
// earlier import. One whose click comes later in the input waits for it, with
// up to actionsWaitMax others. An action that names a visitor only is credited
// with the last valid click that came before it in the input, as the edge does
// by cookie; the views that look at whole journeys need no such order.
//
// It returns what it is through with, also when it fails: io errors of the
// input, Kafka's if it refuses for good, ctx's, ErrNotIngested. While Kafka is
// away or ingest too far behind it waits.
func Import(ctx context.Context, input io.Reader, o ImportOptions) (ImportProgress, error) {
	in := &importRun{ImportOptions: o, progress: o.From, durable: o.From, saved: time.Now()}
	in.Logger = loggerOr(o.Logger)
	mapper, err := newImportMapper(o.Mapping)
	if err != nil {
		return o.From, err
	}
	in.mapper = mapper
	enricher, err := newImportEnricher(o.Geo)
	if err != nil {
		return o.From, err
	}
	in.events = importEvents{
		links: o.Links, enricher: enricher, memory: newImportMemory(), zone: o.Zone, now: time.Now,
	}
	if o.Source != "" {
		in.events.source = o.Source + ":"
	}
	if o.Zone == nil {
		in.events.zone = time.UTC
	}
	if in.reader, err = newImportRowReader(input, o.Format, mapper); err != nil {
		return o.From, err
	}
	if in.sink, err = newImportSink(o.Clients, in.Logger); err != nil {
		return o.From, err
	}
	defer in.sink.close()
	if err := in.run(ctx); err != nil {
		return in.durable, err
	}
	return in.durable, in.sink.awaitIngest(ctx)
}

// importRun is the state of an Import. One goroutine has it.
type importRun struct {
	ImportOptions
	mapper *importMapper
	reader importRowReader
	events importEvents
	sink   *importSink

	progress ImportProgress
	durable  ImportProgress // what From or Saved said last
	saved    time.Time
	waiting  []*importRow // actions whose click was not seen yet
}

const (
	// actionsWaitMax bounds the actions that wait for their click, to some 50
	// MB. When there are more, those whose click is nowhere are refused.
	actionsWaitMax = 50_000
	saveInterval   = time.Second
)

func (in *importRun) run(ctx context.Context) error {
	for {
		row, err := in.reader.next()
		var refused *RowError
		switch {
		case errors.Is(err, io.EOF):
			if err := in.settle(ctx); err != nil {
				return err
			}
			return in.save(ctx)
		case errors.As(err, &refused):
			in.progress.Bytes = max(in.progress.Bytes, refused.end)
			err = in.refuse(refused)
		case err != nil:
			return fmt.Errorf("read the input: %w", err)
		default:
			in.progress.Bytes = max(in.progress.Bytes, row.end)
			err = in.take(ctx, row)
		}
		if err == nil && time.Since(in.saved) >= saveInterval && len(in.waiting) == 0 {
			err = in.save(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// isThrough reports whether an earlier import was through with what ends there.
func (in *importRun) isThrough(end int64) bool { return end <= in.From.Bytes }

// take sends the event of a row, or keeps it until its click is known.
func (in *importRun) take(ctx context.Context, row *importRow) error {
	if !in.mapper.complete(row) {
		if !in.isThrough(row.end) {
			in.progress.Rows, in.progress.Skipped = in.progress.Rows+1, in.progress.Skipped+1
		}
		return nil
	}
	event, err := in.events.event(row)
	switch {
	case errors.Is(err, errClickUnknown):
		if in.isThrough(row.end) {
			return nil
		}
		in.waiting = append(in.waiting, row.clone())
		if len(in.waiting) == actionsWaitMax {
			return in.settle(ctx)
		}
		return nil
	case err != nil:
		return in.refuse(row.refuse(err))
	}
	return in.send(ctx, row, event)
}

func (in *importRun) send(ctx context.Context, row *importRow, event *wire.Event) error {
	if in.isThrough(row.end) {
		return nil
	}
	in.progress.Rows, in.progress.Events = in.progress.Rows+1, in.progress.Events+1
	if in.Sent != nil {
		in.Sent(event.Event, event.Stage)
	}
	return in.sink.send(ctx, event)
}

func (in *importRun) refuse(row *RowError) error {
	if in.isThrough(row.end) {
		return nil
	}
	in.progress.Rows, in.progress.Refused = in.progress.Rows+1, in.progress.Refused+1
	if in.Refused == nil {
		return nil
	}
	return in.Refused(row)
}

// save tells how far the import is, once Kafka has all of it.
func (in *importRun) save(ctx context.Context) error {
	if err := in.sink.flush(ctx); err != nil {
		return err
	}
	in.durable, in.saved = in.progress, time.Now()
	if in.Saved == nil {
		return nil
	}
	return in.Saved(in.durable)
}

// settle sends the actions that wait for their click, and refuses those whose
// click is nowhere.
func (in *importRun) settle(ctx context.Context) error {
	if err := in.lookUp(ctx); err != nil {
		return err
	}
	for _, row := range in.waiting {
		event, err := in.events.event(row)
		if errors.Is(err, errClickUnknown) {
			err = &tracker.FieldError{Field: "click_id", Detail: fmt.Sprintf("there is no click %q; import the clicks first, under the same --source", row.texts[fieldClickID])}
		}
		if err != nil {
			err = in.refuse(row.refuse(err))
		} else {
			err = in.send(ctx, row, event)
		}
		if err != nil {
			return err
		}
	}
	in.waiting = in.waiting[:0]
	return nil
}

// lookUp asks ClickHouse for the clicks that are waited for and were in no row
// of this input, or so long ago that they are forgotten.
func (in *importRun) lookUp(ctx context.Context) error {
	var ids []string
	for _, row := range in.waiting {
		if id := in.events.source + row.texts[fieldClickID]; !in.events.memory.knows(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil
	}
	found, err := in.Clicks.ImportedClicks(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up the clicks of %d actions: %w", len(ids), err)
	}
	for id, hit := range found {
		in.events.memory.recall(id, hit)
	}
	return nil
}
