package clickhouse

import (
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TLS by the address alone, to the engine behind a proxy that speaks it.
func TestOpenWithTLS(t *testing.T) {
	if testAddress == "" {
		t.Skip("needs libchdb: run make test, or set CHDB_LIB_PATH")
	}
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: testAddress}))
	defer proxy.Close()
	dir := t.TempDir()
	ca, noCA := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	if err := os.WriteFile(ca, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(noCA, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ address, opens, pings string }{
		"trusted by file":     {proxy.URL + "?ca=" + ca, "", ""},
		"not trusted":         {proxy.URL, "", "certificate"},
		"not trusted, native": {"clickhouse://" + proxy.Listener.Addr().String() + "?secure=true", "", "certificate"},
		"not verified":        {proxy.URL + "?skip_verify=true", "", ""},
		"no such file":        {proxy.URL + "?ca=" + ca + ".gone", "no such file", ""},
		"no certificates":     {proxy.URL + "?ca=" + noCA, "has none in PEM", ""},
		"no TLS":              {"http://" + testAddress + "?ca=" + ca, "add secure=true", ""},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(test.address, testUser, testPassword)
			expectError(t, "open", err, test.opens)
			if err != nil {
				return
			}
			defer db.Close()
			expectError(t, "ping", db.Ping(testContext(t)), test.pings)
		})
	}
}

// expectError checks that an error says something, or that there is none.
func expectError(t *testing.T, doing string, err error, says string) {
	t.Helper()
	if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("%s: %v, want %q", doing, err, says)
	}
}
