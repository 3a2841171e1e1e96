package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// newProgress shows how far a long command is: a bar on a terminal, and a line
// at the begin elsewhere, where a bar would fill the log. A total of -1 is
// unknown.
func newProgress(doing, unit string, total int64) *progressbar.ProgressBar {
	visible := term.IsTerminal(int(os.Stderr.Fd()))
	if !visible {
		fmt.Fprintln(os.Stderr, doing+" …")
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetDescription(doing), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(visible), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
}
