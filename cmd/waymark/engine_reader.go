package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"waymark/clickhouse"
	"waymark/clickhouse/engine"
	"waymark/tracker"
)

// engineReader is the user of the embedded engine whose passwords are the API
// keys that may read. It changes nothing, and with a key of one programme it
// sees the rows of that programme alone.
const engineReader = "reader"

// readers finds out what a password of the reader may see by asking the admin
// API about the key that it is. Nothing is remembered, so a key that is revoked
// is refused at once; and no key is written down for the engine.
type readers struct {
	url    string // of the admin API
	client http.Client
}

func newReaders(admin string) *readers {
	return &readers{url: "http://" + admin + "/v1/key", client: http.Client{Timeout: 5 * time.Second}}
}

func (r *readers) find(ctx context.Context, name, password string) (engine.User, bool, error) {
	if name != engineReader {
		return engine.User{}, false, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return engine.User{}, false, fmt.Errorf("ask the admin API about a key: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+password)
	response, err := r.client.Do(request)
	if err != nil {
		return engine.User{}, false, fmt.Errorf("ask the admin API about a key: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return engine.User{}, false, nil
	case http.StatusOK:
	default:
		return engine.User{}, false, fmt.Errorf("ask the admin API about a key: it answers %s", response.Status)
	}
	var key tracker.APIKey
	if err := json.NewDecoder(response.Body).Decode(&key); err != nil {
		return engine.User{}, false, fmt.Errorf("read what the admin API says of a key: %w", err)
	}
	if key.ID == "" {
		return engine.User{}, false, fmt.Errorf("read what the admin API says of a key: it names none")
	}
	return readerOf(key.Program), true, nil
}

// readerOf is the user for keys of a programme, "" for all.
func readerOf(program string) engine.User {
	user := engine.User{Name: engineReader, ReadOnly: true}
	if program != "" {
		prepare, filters := clickhouse.RowFilters(program)
		user.Rows = &engine.Rows{Prepare: prepare, Filters: filters}
	}
	return user
}
