package engine

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

var compressions = map[string]clickhouse.CompressionMethod{
	"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
	"gzip": clickhouse.CompressionGZIP, "deflate": clickhouse.CompressionDeflate, "brotli": clickhouse.CompressionBrotli,
}

// dial opens clickhouse-go on the engine, as the rest of waymark does.
func dial(t testing.TB, user User, method clickhouse.CompressionMethod) clickhouse.Conn {
	t.Helper()
	needEngine(t)
	conn, err := clickhouse.Open(&clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{address},
		Auth:        clickhouse.Auth{Username: user.Name, Password: user.Password},
		Compression: &clickhouse.Compression{Method: method, Level: 3},
		Settings:    clickhouse.Settings{"enable_http_compression": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// table gives a name that no other test uses.
func table(t testing.TB) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isWord(byte(r)) {
			return r
		}
		return '_'
	}, t.Name())
}

// typed is a row with a column of every type that waymark keeps.
type typed struct {
	U8   uint8             `ch:"u8"`
	U16  uint16            `ch:"u16"`
	U32  uint32            `ch:"u32"`
	U64  uint64            `ch:"u64"`
	I8   int8              `ch:"i8"`
	I16  int16             `ch:"i16"`
	I32  int32             `ch:"i32"`
	I64  int64             `ch:"i64"`
	F64  float64           `ch:"f64"`
	B    bool              `ch:"b"`
	D6   decimal.Decimal   `ch:"d6"`
	D38  decimal.Decimal   `ch:"d38"`
	T3   time.Time         `ch:"t3"`
	T0   time.Time         `ch:"t0"`
	Day  time.Time         `ch:"day"`
	S    string            `ch:"s"`
	LC   string            `ch:"lc"`
	Fix  string            `ch:"fix"`
	Arr  []string          `ch:"arr"`
	Deep [][]uint32        `ch:"deep"`
	M    map[string]string `ch:"m"`
	Tup  map[string]any    `ch:"tup"`
	Null *string           `ch:"null"`
	NLC  *string           `ch:"nlc"`
	ID   uuid.UUID         `ch:"id"`
	IP   net.IP            `ch:"ip"`
	E    string            `ch:"e"`
	NK   []string          `ch:"nest.k"`
	NV   []uint64          `ch:"nest.v"`
	U128 *big.Int          `ch:"u128"`
	Max  uint64            `ch:"max"`
}

const typedColumns = `u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i8 Int8, i16 Int16, i32 Int32, i64 Int64, f64 Float64, b Bool,
	d6 Decimal(18, 6), d38 Decimal(38, 6), t3 DateTime64(3, 'UTC'), t0 DateTime('UTC'), day Date, s String,
	lc LowCardinality(String), fix FixedString(2), arr Array(String), deep Array(Array(UInt32)),
	m Map(LowCardinality(String), String), tup Tuple(a UInt8, b String), null Nullable(String),
	nlc LowCardinality(Nullable(String)), id UUID, ip IPv6, e Enum8('click' = 1, 'scan' = 2),
	nest Nested(k String, v UInt64), u128 UInt128, max SimpleAggregateFunction(max, UInt64)`

func typedRow(n int) typed {
	text := "tab\t quote' back\\slash\nline ünï \x00 \xff"
	deep := big.NewInt(1)
	row := typed{
		U8: uint8(n), U16: 65535, U32: uint32(n), U64: 1<<64 - 1, I8: -128, I16: -32768, I32: int32(-n), I64: -1 << 63,
		F64: 0.1 * float64(n), B: n%2 == 0, D6: decimal.RequireFromString("-123456789012.345678"),
		D38: decimal.RequireFromString("12345678901234567890123456789012.000001"),
		T3:  time.Date(2026, 2, 28, 23, 59, 59, 999e6, time.UTC), T0: time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		Day: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), S: text, LC: fmt.Sprint("channel-", n%3), Fix: "DE",
		Arr: []string{"", text}, Deep: [][]uint32{{}, {1, 2}, {3}}, M: map[string]string{"k": text, "": ""},
		Tup: map[string]any{"a": uint8(7), "b": "x"}, ID: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
		IP: net.ParseIP("2001:db8::1"), E: "scan",
		NK: []string{"one", "two"}, NV: []uint64{1, 2},
		U128: deep.Lsh(deep, 100), Max: uint64(n),
	}
	if n%2 == 1 {
		row.Null, row.NLC = &text, &row.LC
	}
	return row
}

func TestEveryTypeEveryCompression(t *testing.T) {
	for name, method := range compressions {
		t.Run(name, func(t *testing.T) {
			conn, ctx := dial(t, admin, method), t.Context()
			must(t, "CREATE TABLE "+table(t)+" ("+typedColumns+") ENGINE = MergeTree ORDER BY u32")
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table(t))
			if err != nil {
				t.Fatal(err)
			}
			var want []typed
			for n := range 200 {
				row := typedRow(n)
				want = append(want, row)
				if err := batch.AppendStruct(&row); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			var got []typed
			if err := conn.Select(ctx, &got, "SELECT * FROM "+table(t)+" ORDER BY u32"); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
			for i := range want {
				compareRows(t, got[i], want[i])
			}
		})
	}
}

// compareRows compares field by field, by value where a type has its own notion of that.
func compareRows(t *testing.T, got, want typed) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		switch want := w.Field(i).Interface().(type) {
		case decimal.Decimal:
			if !g.Field(i).Interface().(decimal.Decimal).Equal(want) {
				t.Errorf("%s is %v, want %v", name, g.Field(i), want)
			}
		case time.Time:
			if !g.Field(i).Interface().(time.Time).Equal(want) {
				t.Errorf("%s is %v, want %v", name, g.Field(i), want)
			}
		case net.IP:
			if !g.Field(i).Interface().(net.IP).Equal(want) {
				t.Errorf("%s is %v, want %v", name, g.Field(i), want)
			}
		case *big.Int:
			if g.Field(i).Interface().(*big.Int).Cmp(want) != 0 {
				t.Errorf("%s is %v, want %v", name, g.Field(i), want)
			}
		default:
			if !reflect.DeepEqual(g.Field(i).Interface(), want) {
				t.Errorf("%s is %#v, want %#v", name, g.Field(i).Interface(), want)
			}
		}
	}
}

func TestAggregateFunctions(t *testing.T) {
	conn, ctx := dial(t, admin, clickhouse.CompressionLZ4), t.Context()
	must(t, "CREATE TABLE "+table(t)+` (day Date, visitors AggregateFunction(uniqExact, UInt64), clicks SimpleAggregateFunction(sum, UInt64),
		first AggregateFunction(argMin, String, DateTime)) ENGINE = AggregatingMergeTree ORDER BY day`)
	for n := range 3 {
		must(t, fmt.Sprintf(`INSERT INTO %s SELECT '2026-01-01', uniqExactState(number + %d), count(),
			argMinState('v' || toString(%d), toDateTime(1000 - %d)) FROM numbers(10)`, table(t), n*5, n, n))
	}
	must(t, "OPTIMIZE TABLE "+table(t)+" FINAL")
	var visitors, clicks uint64
	var first string
	err := conn.QueryRow(ctx, "SELECT uniqExactMerge(visitors), sum(clicks), argMinMerge(first) FROM "+table(t)).Scan(&visitors, &clicks, &first)
	if err != nil {
		t.Fatal(err)
	}
	// 0…9, 5…14 and 10…19 are twenty different numbers; the third insert has the earliest time.
	if visitors != 20 || clicks != 30 || first != "v2" {
		t.Errorf("visitors %d, clicks %d, first %s; want 20, 30, v2", visitors, clicks, first)
	}
}

func TestInsertMillionRows(t *testing.T) {
	conn, ctx := dial(t, admin, clickhouse.CompressionLZ4), t.Context()
	must(t, "CREATE TABLE "+table(t)+" (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	const rows = 1_000_000
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(rows) {
		if err := batch.Append(n, "row"); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	found, err := conn.Query(ctx, "SELECT n FROM "+table(t))
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var count, sum uint64
	for found.Next() {
		var n uint64
		if err := found.Scan(&n); err != nil {
			t.Fatal(err)
		}
		count, sum = count+1, sum+n
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if count != rows || sum != rows*(rows-1)/2 {
		t.Errorf("read %d rows with sum %d", count, sum)
	}
}

func TestTypedErrors(t *testing.T) {
	must(t, "CREATE VIEW "+table(t)+" AS SELECT number AS n FROM numbers({upto:UInt64})")
	cases := []struct {
		sql    string
		code   int32
		status int
	}{
		{"SELECT * FROM no_such_table", 60, 404},
		{"SELECT no_such_column", 47, 404},
		{"SELECT no_such_function(1)", 46, 404},
		{"SELECT * FROM no_such_database.t", 81, 404},
		{"SELEC 1", 62, 400},
		{"SELECT 1 SETTINGS no_such_setting = 1", 115, 404},
		{"SELECT toUInt8('x')", 6, 400},
		{"SELECT throwIf(1)", 395, 500},
		{"SELECT * FROM " + table(t) + "()", 456, 500},
	}
	for name, method := range compressions {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, admin, method)
			for _, c := range cases {
				err := conn.Exec(t.Context(), c.sql)
				var exception *clickhouse.Exception
				var status *clickhouse.HTTPError
				if !errors.As(err, &exception) || exception.Code != c.code || !errors.As(err, &status) || status.StatusCode != c.status {
					t.Errorf("%s: %v, want code %d with status %d", c.sql, err, c.code, c.status)
				}
				_, err = conn.Query(t.Context(), c.sql)
				if !errors.As(err, &exception) || exception.Code != c.code {
					t.Errorf("%s as a query: %v, want code %d", c.sql, err, c.code)
				}
			}
		})
	}
}

func TestExceptionBehindRows(t *testing.T) {
	for name, method := range compressions {
		t.Run(name, func(t *testing.T) {
			rows, err := dial(t, admin, method).Query(t.Context(), "SELECT throwIf(number = 300000) FROM numbers(1000000) SETTINGS max_threads = 1")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			count := 0
			for rows.Next() {
				count++
			}
			var exception *clickhouse.Exception
			if !errors.As(rows.Err(), &exception) || exception.Code != 395 {
				t.Errorf("after %d rows: %v, want code 395", count, rows.Err())
			}
			if count == 0 {
				t.Error("the exception came before any row")
			}
		})
	}
}

func TestParameters(t *testing.T) {
	conn, ctx := dial(t, admin, clickhouse.CompressionNone), t.Context()
	must(t, "CREATE VIEW "+table(t)+" AS SELECT number AS n, {label:String} AS label FROM numbers({upto:UInt64})")
	text := "tab\t quote' back\\slash\nline"
	var count uint64
	var label string
	err := conn.QueryRow(clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"upto": "7", "label": "it's"})),
		"SELECT count(), any(label) FROM "+table(t)+"(upto = {upto:UInt64}, label = {label:String})").Scan(&count, &label)
	if err != nil || count != 7 || label != "it's" {
		t.Errorf("parameterised view: %d, %q, %v", count, label, err)
	}
	if err := conn.QueryRow(ctx, "SELECT {text:String}", clickhouse.Named("text", text)).Scan(&label); err != nil || label != text {
		t.Errorf("parameter: %q, %v", label, err)
	}
	if err := conn.QueryRow(ctx, "SELECT ?", text).Scan(&label); err != nil || label != text {
		t.Errorf("bound by the client: %q, %v", label, err)
	}
}

func TestExternalTable(t *testing.T) {
	conn := dial(t, admin, clickhouse.CompressionNone)
	external, err := ext.NewTable("wanted", ext.Column("id", "UInt64"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{3, 5} {
		if err := external.Append(id); err != nil {
			t.Fatal(err)
		}
	}
	var sum uint64
	ctx := clickhouse.Context(t.Context(), clickhouse.WithExternalTable(external))
	if err := conn.QueryRow(ctx, "SELECT sum(number) FROM numbers(10) WHERE number IN wanted").Scan(&sum); err != nil || sum != 8 {
		t.Errorf("sum %d, %v; want 8", sum, err)
	}
}

func TestReadOnlyUser(t *testing.T) {
	conn := dial(t, reader, clickhouse.CompressionLZ4)
	var n uint64
	if err := conn.QueryRow(t.Context(), "SELECT sum(number) FROM numbers(5)").Scan(&n); err != nil || n != 10 {
		t.Errorf("sum %d, %v; want 10", n, err)
	}
	var exception *clickhouse.Exception
	if err := conn.Exec(t.Context(), "CREATE TABLE "+table(t)+" (n UInt8) ENGINE = Memory"); !errors.As(err, &exception) || exception.Code != 164 {
		t.Errorf("a read-only user created a table: %v", err)
	}
}

func TestCancel(t *testing.T) {
	for name, sql := range map[string]string{
		"before the first row": "SELECT max(sipHash64(number)) FROM numbers(100000000000) SETTINGS max_threads = 1",
		"between rows":         "SELECT number FROM numbers(100000000000) WHERE sleepEachRow(0.0001) = 0 SETTINGS max_block_size = 100",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, admin, clickhouse.CompressionNone)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				rows, err := conn.Query(ctx, sql)
				if err != nil {
					return
				}
				for rows.Next() {
				}
				rows.Close()
			}()
			running := "SELECT count() FROM system.processes WHERE query LIKE '%" + sql[7:20] + "%' AND query NOT LIKE '%processes%'"
			await(t, "the query runs", func() bool { return must(t, running) == "1" })
			cancel()
			<-ended
			await(t, "the query is gone", func() bool { return must(t, running) == "0" })
		})
	}
}

// await polls until the condition holds, and fails the test when it does not within a time no machine needs.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	must(t, "CREATE TABLE "+table(t)+" (client UInt8, n UInt32) ENGINE = MergeTree ORDER BY (client, n)")
	const clients, inserts, rowsEach = 12, 6, 500
	failed := make(chan error, clients)
	for client := range clients {
		go func() {
			failed <- func() error {
				conn, ctx := dial(t, admin, clickhouse.CompressionLZ4), t.Context()
				for i := range inserts {
					batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table(t))
					if err != nil {
						return err
					}
					for n := range rowsEach {
						if err := batch.Append(uint8(client), uint32(i*rowsEach+n)); err != nil {
							return err
						}
					}
					if err := batch.Send(); err != nil {
						return err
					}
					var own uint64
					if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM %s WHERE client = %d", table(t), client)).Scan(&own); err != nil {
						return err
					}
					if want := uint64((i + 1) * rowsEach); own != want {
						return fmt.Errorf("client %d sees %d of its %d rows", client, own, want)
					}
				}
				return nil
			}()
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if got := must(t, "SELECT count(), uniqExact(client, n) FROM "+table(t)); got != fmt.Sprintf("%d\t%d", clients*inserts*rowsEach, clients*inserts*rowsEach) {
		t.Errorf("count and distinct rows: %s", got)
	}
}
