package tracker

import "time"

// Role is what an API key may do.
type Role string

const (
	RoleAdmin Role = "admin" // everything
	RoleEvent Role = "event" // report actions
	RoleRead  Role = "read"  // read links and reports
)

// APIKey is a key as it is stored and listed: the secret itself is shown once,
// when it is made. It is the value, as JSON, of a record of waymark.keys,
// whose key is ID.
type APIKey struct {
	ID        string     `json:"id" doc:"Public name of the key: the start of its secret."`
	Role      Role       `json:"role" enum:"admin,event,read"`
	Program   string     `json:"program" doc:"The one programme that the key is good for; empty for all."`
	Hash      string     `json:"hash,omitempty"` // hex SHA-256 of the secret
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}
