package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/tracker/wire"
)

type eventsImportCommand struct {
	File string `arg:"" help:"File to read, - for standard input."`
	Data string `help:"Directory of a local installation, whose ClickHouse password is used; how far an interrupted import is stands there, too." default:"waymark-data" type:"path"`
	kafkaFlags
	clickhouseFlags
	Format        string            `help:"csv or ndjson; by the file's ending, else its first byte, without it." enum:",csv,ndjson" default:""`
	Map           map[string]string `help:"Columns of fields, where they have another name: visitor_id=cookie,event=interaction. FIELD= leaves a field out, properties.NAME=COLUMN keeps a column that is none." mapsep:"," placeholder:"FIELD=COLUMN,…"`
	EventMap      map[string]string `help:"Events as they are called here: impression=click,conversion=purchase. NAME=- skips such rows." mapsep:"," placeholder:"NAME=EVENT,…"`
	Set           map[string]string `help:"Values of fields that a row leaves empty: event=click,program=wedding." mapsep:"," placeholder:"FIELD=VALUE,…"`
	IgnoreUnknown bool              `help:"Pass over columns that are no field."`
	TZ            string            `name:"tz" help:"Zone of times that have none." default:"UTC" placeholder:"ZONE"`
	Source        string            `help:"Name of the other system, the same for all its files. Keeps its ids and visitors apart from those of others." placeholder:"NAME"`
	GeoIP         []string          `name:"geoip" help:"GeoIP2, GeoLite2 or DB-IP database for rows with an address, which is not kept; repeatable." type:"path" placeholder:"FILE"`
	Rejects       string            `help:"Write the rows that are refused to this file, as NDJSON with line, field, detail and row." type:"path" placeholder:"FILE"`
}

// Help is printed below the flags' summary.
func (c *eventsImportCommand) Help() string {
	return `A row is an event: CSV with a header line of field names, or NDJSON with the same names. Fields: ` +
		strings.Join(pipeline.ImportFieldNames(), ", ") + `.

event is click, scan, or what POST /v1/events takes; time is RFC 3339, Unix seconds or milliseconds, or a date and time of --tz. Any text is a
visitor_id or click_id. A code is a link's, else the row needs a program. A click with a user_agent is judged as a live one; else say bot or reasons.

Importing a file twice adds nothing, nor does one that was interrupted (it goes on where it was), split or sorted: an event is known by
its id or, without one, by its content. Give an export the same --source and --set each time.

Rows that are refused are listed by line, the others are imported; the exit code is then 1. Correct them and import the whole file again.`
}

// rejectsShown is how many refused rows are listed on the terminal.
const rejectsShown = 20

func (c *eventsImportCommand) Run(ctx context.Context) error {
	zone, err := time.LoadLocation(c.TZ)
	if err != nil {
		return fmt.Errorf("--tz: %w; name a zone such as Europe/Berlin", err)
	}
	kafka, err := c.kafkaFlags.clients()
	if err != nil {
		return err
	}
	data := dataDir(c.Data)
	if err := data.open(); err != nil {
		return err
	}
	geo, err := pipeline.OpenGeo(c.GeoIP...)
	if err != nil {
		return fmt.Errorf("--geoip: %w", err)
	}
	defer geo.Close()
	input, size, err := c.open()
	if err != nil {
		return err
	}
	defer input.Close()
	topic, err := actionsTopic(ctx, kafka)
	if err != nil {
		return err
	}
	place, err := openImportPlace(data, input, c.settings(topic))
	if err != nil {
		return err
	}
	known, stop, err := followLinks(ctx, kafka)
	if err != nil {
		return err
	}
	defer stop()
	run := &eventsImport{
		bar: newProgress("importing events", "B", size), place: place, rejectsPath: c.Rejects,
		clicks: &lateStore{open: func() (*clickhouse.DB, error) { return c.clickhouseFlags.open(data) }},
	}
	defer run.clicks.close()
	if err := run.openRejects(); err != nil {
		return err
	}
	run.bar.Set64(0)
	began := time.Now()
	progress, err := pipeline.Import(ctx, io.TeeReader(input, run.bar), pipeline.ImportOptions{
		Clients: kafka, Links: known.links, Clicks: run.clicks, Geo: geo, Format: c.format(), Zone: zone, Source: c.Source,
		Mapping: pipeline.ImportMapping{Columns: c.Map, Events: c.EventMap, Constants: c.Set, IgnoreUnknown: c.IgnoreUnknown},
		From:    place.from, Sent: run.names.add, Refused: run.refused, Saved: run.saved,
	})
	return c.conclude(run, progress, time.Since(began), err)
}

// conclude prints the summary and says how the command ends.
func (c *eventsImportCommand) conclude(run *eventsImport, progress pipeline.ImportProgress, took time.Duration, err error) error {
	run.bar.Exit()
	err = errors.Join(err, run.closeRejects())
	if more := run.shown - rejectsShown; more > 0 {
		fmt.Fprintf(os.Stderr, "… and %d more\n", more)
	}
	fmt.Fprintf(os.Stderr, "%d rows: %d events sent, %d rows skipped, %d refused, in %v; events that were imported before count once\n",
		progress.Rows, progress.Events, progress.Skipped, progress.Refused, took.Round(time.Millisecond))
	run.names.print(os.Stderr)
	if errors.Is(err, pipeline.ErrNotIngested) {
		fmt.Fprintln(os.Stderr, err)
		err = nil
	}
	if err != nil {
		again := ""
		if run.place.path != "" && progress.Bytes > 0 {
			again = "; the same command goes on where it was"
		}
		return fmt.Errorf("import %s: %w%s", c.File, err, again)
	}
	err = run.place.remove()
	if progress.Refused > 0 {
		advice := "--rejects FILE lists them all"
		if c.Rejects != "" {
			advice = "see " + c.Rejects
		}
		err = errors.Join(err, fmt.Errorf("%d rows were refused (%s); correct them and import the whole file again, which adds what is missing", progress.Refused, advice))
	}
	if err != nil {
		return fmt.Errorf("import %s: %w", c.File, err)
	}
	return nil
}

// open opens the input. Its size is -1 where that is not known.
func (c *eventsImportCommand) open() (*os.File, int64, error) {
	if c.File == "-" {
		return os.Stdin, -1, nil
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, 0, fmt.Errorf("open the file to import: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		return file, info.Size(), nil
	}
	return file, -1, nil
}

func (c *eventsImportCommand) format() pipeline.ImportFormat {
	if c.Format != "" {
		return pipeline.ImportFormat(c.Format)
	}
	switch strings.ToLower(filepath.Ext(c.File)) {
	case ".csv", ".tsv":
		return pipeline.ImportCSV
	case ".ndjson", ".jsonl":
		return pipeline.ImportNDJSON
	}
	return "" // the first byte tells
}

// settings are whatever decides what becomes of a row: an import goes on only
// where one with the same was.
func (c *eventsImportCommand) settings(topic string) string {
	text, err := json.Marshal([]any{topic, c.Format, c.Map, c.EventMap, c.Set, c.IgnoreUnknown, c.TZ, c.Source})
	if err != nil {
		panic("BUG: encode the settings of an import: " + err.Error())
	}
	return string(text)
}

// actionsTopic is the identity of the topic that events go to.
func actionsTopic(ctx context.Context, kafka pipeline.ClientOptions) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client, err := pipeline.NewClient(kafka)
	if err != nil {
		return "", err
	}
	defer client.Close()
	id, err := pipeline.TopicID(ctx, client, pipeline.TopicActions)
	if err != nil {
		return "", fmt.Errorf("%w; is `waymark up` or `waymark ingest` running, and is --kafka its address?", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// followLinks reads all links and programmes, and follows them until stop.
func followLinks(ctx context.Context, kafka pipeline.ClientOptions) (known *catalog, stop func(), err error) {
	known, err = openCatalog("", "import", kafka, "", nil)
	if err != nil {
		return nil, nil, err
	}
	following, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- known.Run(following) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			slog.Warn("stop following the links", "error", err)
		}
	}
	if err := waitReady(ctx, "links", known.Ready); err != nil {
		stop()
		return nil, nil, err
	}
	return known, stop, nil
}

// eventsImport is what the command shows and keeps of an import.
type eventsImport struct {
	bar         *progressbar.ProgressBar
	place       *importPlace
	clicks      *lateStore
	names       importedNames
	shown       int64 // refused rows of this run
	rejectsPath string
	rejects     *os.File
}

// openRejects opens the file of refused rows. One of an interrupted import is
// continued where that was through with it.
func (i *eventsImport) openRejects() (err error) {
	if i.rejectsPath == "" {
		return nil
	}
	if i.rejects, err = os.OpenFile(i.rejectsPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err == nil {
		err = i.rejects.Truncate(i.place.rejectBytes)
	}
	if err != nil {
		return fmt.Errorf("--rejects: %w", err)
	}
	return nil
}

func (i *eventsImport) closeRejects() error {
	if i.rejects == nil {
		return nil
	}
	return i.rejects.Close()
}

func (i *eventsImport) refused(row *pipeline.RowError) error {
	if i.shown++; i.shown <= rejectsShown {
		i.bar.Clear()
		fmt.Fprintln(os.Stderr, row.Error())
	}
	if i.rejects == nil {
		return nil
	}
	if err := json.NewEncoder(i.rejects).Encode(row); err != nil {
		return fmt.Errorf("write the refused rows: %w", err)
	}
	return nil
}

func (i *eventsImport) saved(progress pipeline.ImportProgress) error {
	rejectBytes := int64(0)
	if i.rejects != nil {
		info, err := i.rejects.Stat()
		if err != nil {
			return fmt.Errorf("look at the refused rows: %w", err)
		}
		rejectBytes = info.Size()
	}
	return i.place.save(progress, rejectBytes)
}

// lateStore is ClickHouse, connected when it is needed: an import whose
// actions name no click of earlier ones never does.
type lateStore struct {
	open     func() (*clickhouse.DB, error)
	once     sync.Once
	database *clickhouse.DB
	err      error
}

func (s *lateStore) ImportedClicks(ctx context.Context, ids []string) (map[string]*wire.Event, error) {
	s.once.Do(func() { s.database, s.err = s.open() })
	if s.err != nil {
		return nil, s.err
	}
	found, err := s.database.ImportedClicks(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("%w; is --clickhouse its address?", err)
	}
	return found, nil
}

func (s *lateStore) close() {
	if s.database != nil {
		s.database.Close()
	}
}
