package pipeline

import (
	"context"
	"testing"
	"time"

	"waymark/pipeline/realkafka"
	"waymark/tracker"
)

// Whatever the flags can say about security, Kafka agrees with or refuses.
func testRealSecurity(t *testing.T, k *realkafka.Kafka, s *realkafka.Secured) {
	const user, password = "grace", "päss=word,1"
	k.CreateUser(user, password)
	for name, test := range map[string]struct {
		addr     string
		security SecurityOptions
		works    bool
	}{
		"TLS":                        {s.TLS, SecurityOptions{TLS: true, CAFile: s.CAFile}, true},
		"TLS, implied":               {s.TLS, SecurityOptions{CAFile: s.CAFile}, true},
		"TLS, unknown authority":     {s.TLS, SecurityOptions{TLS: true}, false},
		"TLS, not used":              {s.TLS, SecurityOptions{}, false},
		"SCRAM-SHA-512":              {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "scram-sha-512", User: user, Password: password}, true},
		"SCRAM-SHA-256":              {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "scram-sha-256", User: user, Password: password}, true},
		"SCRAM, wrong password":      {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "scram-sha-512", User: user, Password: "password"}, false},
		"SCRAM, unknown user":        {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "scram-sha-512", User: "nobody", Password: password}, false},
		"plain":                      {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "plain", User: realkafka.PlainUser, Password: realkafka.PlainPassword}, true},
		"plain, wrong password":      {s.SASL, SecurityOptions{CAFile: s.CAFile, Mechanism: "plain", User: realkafka.PlainUser, Password: "x"}, false},
		"password needed, not given": {s.SASL, SecurityOptions{CAFile: s.CAFile}, false},
	} {
		t.Run(name, func(t *testing.T) {
			security, err := NewSecurity(test.security)
			if err != nil {
				t.Fatal(err)
			}
			clients := testClients(test.addr)
			clients.Security = security
			client, err := NewClient(clients)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			patience := time.Minute
			if !test.works {
				patience = 2 * time.Second // what is refused does not change its mind
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := EnsureTopics(ctx, client); (err == nil) != test.works {
				t.Errorf("works is %v, want %v: %v", err == nil, test.works, err)
			}
			if err != nil || !test.works {
				return
			}
			testSecuredCatalog(t, clients)
		})
	}
}

// testSecuredCatalog writes a link, which takes every kind of client that the
// catalogue has.
func testSecuredCatalog(t *testing.T, clients ClientOptions) {
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	defer links.Close()
	c, err := NewCatalog(CatalogOptions{Clients: clients, Links: links, Keys: tracker.NewKeys("")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if err := c.CreateLinks(testContext(t), []tracker.Link{testLink("", "")})[0]; err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
