//go:build !race

package tracker

import "testing"

func TestCheckAllocatesNothing(t *testing.T) {
	keys := NewKeys("admin")
	secret := []byte(newKey(t, keys, RoleEvent, ""))
	header := append([]byte("Bearer "), secret...)
	if n := testing.AllocsPerRun(100, func() { keys.Check(Bearer(header)) }); n != 0 {
		t.Errorf("%v allocations per check", n)
	}
}
