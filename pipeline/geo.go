package pipeline

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// place is what the databases know of an address.
type place struct {
	country string // ISO 3166-1 alpha-2
	region  string // ISO 3166-2, GB-ENG
	city    string // English name
	network uint32 // autonomous system number
	hosting bool   // it is a hosting provider's
}

// Geo looks addresses up in GeoIP databases. It is safe for concurrent use,
// and holds the files for every Enricher that is given it.
type Geo struct{ databases []geoDatabase }

// geoDatabase fills in the fields of a place that are still empty.
type geoDatabase interface {
	fill(addr netip.Addr, p *place) error
	Close() error
}

// OpenGeo opens databases in MaxMind format: GeoIP2, GeoLite2 and DB-IP (City,
// Country, ASN), and flat ones with a field country_code. Of two that know the
// same field of an address, the one named first counts. The files are mapped
// and must not be overwritten in place while they are open.
func OpenGeo(files ...string) (*Geo, error) {
	g := &Geo{}
	for _, file := range files {
		database, err := openGeoDatabase(file)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.databases = append(g.databases, database)
	}
	return g, nil
}

// Close closes the databases. Nobody may look up any more.
func (g *Geo) Close() error {
	var errs []error
	for _, database := range g.databases {
		errs = append(errs, database.Close())
	}
	g.databases = nil
	return errors.Join(errs...)
}

// lookup returns what the databases know of an address. What a damaged
// database cannot tell stays empty: a click is not held up by it.
func (g *Geo) lookup(addr netip.Addr) place {
	var found place
	if addr.IsLoopback() || addr.IsPrivate() {
		return found
	}
	for _, database := range g.databases {
		_ = database.fill(addr, &found)
	}
	found.hosting = hostingNetworks[found.network]
	return found
}

func openGeoDatabase(file string) (geoDatabase, error) {
	reader, err := geoip2.Open(file)
	var unknown geoip2.UnknownDatabaseTypeError
	switch {
	case errors.As(err, &unknown):
		// geoip2 refuses the flat country databases; the format is the same.
		return openFlat(file)
	case err != nil:
		return nil, fmt.Errorf("open GeoIP database %s: %w", file, err)
	}
	probe := netip.IPv4Unspecified()
	if _, err = reader.City(probe); err == nil {
		return cityDatabase{reader}, nil
	}
	if _, err = reader.ASN(probe); err == nil {
		return networkDatabase{reader}, nil
	}
	kind := reader.Metadata().DatabaseType
	_ = reader.Close()
	return nil, fmt.Errorf("open GeoIP database %s: type %s has neither countries nor networks; give a City, Country or ASN database", file, kind)
}

// cityDatabase is a City, Country or Enterprise database.
type cityDatabase struct{ *geoip2.Reader }

func (d cityDatabase) fill(addr netip.Addr, p *place) error {
	record, err := d.City(addr)
	if err != nil {
		return err
	}
	if p.country == "" {
		p.country = record.Country.ISOCode
	}
	// A region or city of another country than the one found first would
	// contradict it.
	if p.country != record.Country.ISOCode {
		return nil
	}
	if p.region == "" && len(record.Subdivisions) > 0 && record.Subdivisions[0].ISOCode != "" {
		p.region = record.Country.ISOCode + "-" + record.Subdivisions[0].ISOCode
	}
	if p.city == "" {
		p.city = record.City.Names.English
	}
	return nil
}

// networkDatabase is an ASN or ISP database.
type networkDatabase struct{ *geoip2.Reader }

func (d networkDatabase) fill(addr netip.Addr, p *place) error {
	record, err := d.ASN(addr)
	if err != nil {
		return err
	}
	if p.network == 0 {
		p.network = uint32(record.AutonomousSystemNumber)
	}
	return nil
}

// flatDatabase is one whose records hold the fields themselves, as those of
// the npm packages @ip-location-db/* do.
type flatDatabase struct{ *maxminddb.Reader }

type flatRecord struct {
	Country string `maxminddb:"country_code"`
	City    string `maxminddb:"city"`
	Network uint32 `maxminddb:"autonomous_system_number"`
}

func openFlat(file string) (geoDatabase, error) {
	reader, err := maxminddb.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open GeoIP database %s: %w", file, err)
	}
	known := false
	var record flatRecord
	for result := range reader.Networks() {
		if err := result.Decode(&record); err != nil {
			break
		}
		known = record != flatRecord{}
		break
	}
	if !known {
		_ = reader.Close()
		return nil, fmt.Errorf("open GeoIP database %s: type %q has none of the fields country_code, city, autonomous_system_number", file, reader.Metadata.DatabaseType)
	}
	return flatDatabase{reader}, nil
}

func (d flatDatabase) fill(addr netip.Addr, p *place) error {
	if addr.Is6() && d.Metadata.IPVersion == 4 {
		return nil
	}
	var record flatRecord
	if err := d.Lookup(addr).Decode(&record); err != nil {
		return err
	}
	if p.country == "" {
		p.country = record.Country
	}
	if p.city == "" && p.country == record.Country {
		p.city = record.City
	}
	if p.network == 0 {
		p.network = record.Network
	}
	return nil
}
