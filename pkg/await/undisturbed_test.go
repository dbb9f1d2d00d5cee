package await

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failure string
	logs    int
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) { r.logs++ }
func (r *recorder) Fatal(args ...any)   { r.failure = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.Fatal(fmt.Sprintf(format, args...))
}

func TestUndisturbed(t *testing.T) {
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		bad       int  // attempts that fail before one is good
		disturbed bool // each of them
		made      int
		failure   string
	}{
		"good":               {0, false, 1, ""},
		"bad":                {1, false, 1, "bad"},
		"disturbed":          {1, true, 2, ""},
		"good, disturbed":    {0, true, 1, ""},
		"disturbed too much": {maxAttempts, true, maxAttempts, "bad; the process stood still for 0s, in each of 20 attempts for too long"},
	} {
		faketime.Test(t, func(t *testing.T) {
			r := &recorder{TB: t}
			made := 0
			done := make(chan struct{})
			go func() {
				defer close(done)
				most := time.Duration(0)
				if c.disturbed {
					most = -1 // time does not pass here while anything runs
				}
				Undisturbed(r, most, func() error {
					if made++; made <= c.bad {
						return bad
					}
					return nil
				})
			}()
			<-done
			if made != c.made || r.failure != c.failure || r.logs != c.made-1 {
				t.Errorf("%s: %d attempts, failed with %q", name, made, r.failure)
			}
		})
	}
}
