package dice

import (
	"flag"
	"os"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// T is one check of a property. It draws what the check plays with, and is a
// testing.TB whose cleanups run when the check ends.
type T struct {
	*rapid.T
	whole
}

// whole is the test that a check is one of. Its methods stand below those of
// rapid.T.
type whole struct{ testing.TB }

// Check holds a property to chance. A failure is made smaller, and says which flag
// plays it again. BERTH_LONG=1 makes the checks more and longer, and so do
// -rapid.checks and -rapid.steps.
func Check(t *testing.T, property func(t *T)) {
	t.Helper()
	counts()
	rapid.Check(t, func(r *rapid.T) {
		r.Cleanup(func() { // the last one: rapid does not look at what the others found
			if r.Failed() {
				r.FailNow()
			}
		})
		property(&T{r, whole{t}})
	})
}

// counts sets how much is checked, and for how long a failure is made smaller,
// where the command line does not say it.
var counts = sync.OnceFunc(func() {
	counts := map[string]string{"rapid.checks": "5", "rapid.steps": "100", "rapid.shrinktime": "2m"}
	if os.Getenv("BERTH_LONG") == "1" {
		counts["rapid.checks"], counts["rapid.steps"] = "200", "500"
	}
	flag.Visit(func(f *flag.Flag) { delete(counts, f.Name) })
	for name, value := range counts {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
})

// Helper is that of the whole test.
func (t *T) Helper() { t.whole.Helper() }

// Name is that of the whole test.
func (t *T) Name() string { return t.whole.Name() }

// TempDir goes when the check ends.
func (t *T) TempDir() string {
	dir, err := os.MkdirTemp(t.whole.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	})
	return dir
}
