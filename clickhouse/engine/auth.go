package engine

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// User may use the engine.
type User struct {
	Name     string
	Password string // never empty
	ReadOnly bool   // may read tables, but nothing outside of them, and change nothing
	Rows     *Rows  // what it may see, nil for everything; a user with Rows is read-only
}

// authenticate finds the user that a request speaks for: X-ClickHouse-User and X-ClickHouse-Key, basic authentication, or
// the parameters user and password; in that order, and never mixed. Who is none of the users may be known to others. The
// error is an *Exception that tells no more than that it failed.
func authenticate(ctx context.Context, users []User, others func(ctx context.Context, name, password string) (User, bool, error), r *http.Request) (User, error) {
	name, password := credentials(r)
	wantName, wantPassword := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(password))
	found := -1
	// Every user is compared in full, so that the time taken tells nothing about names or passwords.
	for i, user := range users {
		haveName, havePassword := sha256.Sum256([]byte(user.Name)), sha256.Sum256([]byte(user.Password))
		if subtle.ConstantTimeCompare(haveName[:], wantName[:])&subtle.ConstantTimeCompare(havePassword[:], wantPassword[:]) == 1 {
			found = i
		}
	}
	if found >= 0 && users[found].Password != "" {
		user := users[found]
		user.ReadOnly = user.ReadOnly || user.Rows != nil
		return user, nil
	}
	if others != nil && password != "" {
		user, ok, err := others(ctx, name, password)
		if err != nil {
			return User{}, exceptionf(codeCannotSchedule, "CANNOT_SCHEDULE_TASK", "%s: the password cannot be checked now: %v", name, err)
		}
		if ok {
			user.ReadOnly = user.ReadOnly || user.Rows != nil
			return user, nil
		}
	}
	return User{}, exceptionf(codeAuthenticationFailed, "AUTHENTICATION_FAILED",
		"%s: Authentication failed: password is incorrect, or there is no user with such name", name)
}

// credentials reads name and password of a request; the name is "default" where none is given, as in ClickHouse.
func credentials(r *http.Request) (name, password string) {
	query := r.URL.Query()
	switch {
	case r.Header.Get("X-ClickHouse-User") != "" || r.Header.Get("X-ClickHouse-Key") != "":
		name, password = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	case r.Header.Get("Authorization") != "":
		name, password, _ = r.BasicAuth()
	default:
		name, password = query.Get("user"), query.Get("password")
	}
	if name == "" {
		name = "default"
	}
	return name, password
}

// outsideFunctions are scalar functions that reach beyond the tables, though the engine's readonly=1 allows them. They are
// refused wherever their name stands, called or not: `APPLY(file)` and `arrayMap(file, …)` call them without parentheses.
var outsideFunctions = map[string]bool{
	"file": true, "catboostevaluate": true, "aiclassify": true, "aigenerate": true, "aiextract": true, "aitranslate": true,
}

// insideTableFunctions are the table functions that stay within the engine. Every other one that the engine has is closed
// to read-only users: readonly=1 stops them in a SELECT, but not in a DESCRIBE, which opens files and URLs too.
var insideTableFunctions = map[string]bool{
	"numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "primes": true, "generateseries": true,
	"generate_series": true, "generaterandom": true, "values": true, "sqlstandardvalues": true, "view": true,
	"viewifpermitted": true, "viewexplain": true, "merge": true, "null": true, "format": true, "loop": true,
	"dictionary": true, "mergetreeindex": true, "mergetreeprojection": true, "mergetreetextindex": true,
	"mergetreeanalyzeindexes": true, "mergetreeanalyzeindexesuuid": true,
}

// readVerbs begin the statements that a read-only user may send. KILL is not one: all users are one user to the engine.
var readVerbs = map[string]bool{
	"SELECT": true, "WITH": true, "FROM": true, "(": true, "SHOW": true, "DESCRIBE": true, "DESC": true, "EXPLAIN": true, "EXISTS": true,
}

// guard refuses what a read-only user must not do and the engine's readonly=1 lets through. tableFunctions are the names
// of all table functions of the engine, in lower case.
func guard(st statement, tableFunctions map[string]bool) error {
	if !readVerbs[st.verb] {
		return exceptionf(codeReadonly, "READONLY", "Cannot execute %s in readonly mode", st.verb)
	}
	for _, id := range st.identifier {
		name := strings.ToLower(id.name)
		if outsideFunctions[name] || id.called && tableFunctions[name] && !insideTableFunctions[name] {
			return exceptionf(codeReadonly, "READONLY", "Cannot use %s in readonly mode: it reads from outside of the database", id.name)
		}
		if id.escaped {
			return exceptionf(codeReadonly, "READONLY", "Cannot use an escaped identifier in readonly mode")
		}
	}
	return nil
}
