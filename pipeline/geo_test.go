package pipeline

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// geoFile writes a database in MaxMind format.
func geoFile(t testing.TB, kind string, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "geo.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func cityFile(t testing.TB) string {
	return geoFile(t, "GeoLite2-City", map[string]mmdbtype.Map{
		"81.2.69.0/24": {
			"country":      mmdbtype.Map{"iso_code": mmdbtype.String("GB")},
			"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("ENG")}},
			"city":         mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String("London"), "de": mmdbtype.String("Londres")}},
		},
		"2a02:8000::/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}},
	})
}

func networkFile(t testing.TB) string {
	return geoFile(t, "GeoLite2-ASN", map[string]mmdbtype.Map{
		"81.2.69.0/24": {"autonomous_system_number": mmdbtype.Uint32(20712)},
		"3.0.0.0/8":    {"autonomous_system_number": mmdbtype.Uint32(16509)},
	})
}

func countryFile(t testing.TB) string {
	return geoFile(t, "ip-location-db-country", map[string]mmdbtype.Map{
		"81.2.69.0/24":    {"country_code": mmdbtype.String("FR")},
		"198.41.128.0/17": {"country_code": mmdbtype.String("US")},
	})
}

func TestGeoLookup(t *testing.T) {
	city, network, country := cityFile(t), networkFile(t), countryFile(t)
	for _, tc := range []struct {
		name    string
		files   []string
		address string
		want    place
	}{
		{"no database", nil, "81.2.69.142", place{}},
		{"city", []string{city}, "81.2.69.142", place{country: "GB", region: "GB-ENG", city: "London"}},
		{"city, IPv6", []string{city}, "2a02:8001::1", place{country: "DE"}},
		{"city and network", []string{city, network}, "81.2.69.142", place{country: "GB", region: "GB-ENG", city: "London", network: 20712}},
		{"network alone", []string{network}, "3.4.5.6", place{network: 16509, hosting: true}},
		{"flat country", []string{country}, "198.41.200.1", place{country: "US"}},
		{"the second fills what the first lacks", []string{city, country}, "198.41.200.1", place{country: "US"}},
		{"the first counts", []string{country, city}, "81.2.69.142", place{country: "FR"}},
		{"unknown", []string{city, network, country}, "9.9.9.9", place{}},
		{"loopback", []string{city}, "127.0.0.1", place{}},
		{"private", []string{city}, "10.1.2.3", place{}},
	} {
		g, err := OpenGeo(tc.files...)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.lookup(netip.MustParseAddr(tc.address)); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
		if err := g.Close(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestOpenGeoErrors(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.mmdb")
	if err := os.WriteFile(text, []byte("this is no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, file string }{
		{"missing", filepath.Join(t.TempDir(), "missing.mmdb")},
		{"no database", text},
		{"other fields", geoFile(t, "weather", map[string]mmdbtype.Map{"81.2.69.0/24": {"rain": mmdbtype.Bool(true)}})},
		{"domains", geoFile(t, "GeoIP2-Domain", map[string]mmdbtype.Map{"81.2.69.0/24": {"domain": mmdbtype.String("x")}})},
	} {
		_, err := OpenGeo(tc.file)
		if err == nil || !strings.Contains(err.Error(), tc.file) {
			t.Errorf("%s: got %v, want an error that names the file", tc.name, err)
		}
	}
}
