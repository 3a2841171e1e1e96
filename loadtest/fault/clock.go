package fault

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// ClockFileEnv names, for a waymark built with the tag chaos, the file that
// tells how wrong its clock is.
const ClockFileEnv = "WAYMARK_CHAOS_CLOCK_FILE"

// SetClock puts the clock of every process that follows the file ahead of the
// machine's by offset, behind it where that is negative. They see it within 10
// ms, rounded to the millisecond.
func SetClock(path string, offset time.Duration) error {
	// Renamed into place: a reader must not find half a number.
	next := path + ".next"
	if err := os.WriteFile(next, []byte(strconv.FormatInt(offset.Milliseconds(), 10)), 0o644); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}
