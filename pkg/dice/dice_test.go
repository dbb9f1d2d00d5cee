package dice

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

var _ testing.TB = (*T)(nil)

func TestCheckEndsWhatItOpened(t *testing.T) {
	before := ""
	checks := 0
	Check(t, func(t *T) {
		if _, err := os.Stat(before); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directory of the check before: %v", err)
		}
		before = t.TempDir()
		checks++
	})
	if checks < 2 {
		t.Errorf("%d checks", checks)
	}
}

func TestCount(t *testing.T) {
	for value, want := range map[string]int{"": 10, "0": 10, "1": 1000} {
		t.Setenv("BERTH_LONG", value)
		if got := Count(t, 10, 1000); got != want {
			t.Errorf("BERTH_LONG=%q: %d, want %d", value, got, want)
		}
	}
}

func TestSeed(t *testing.T) {
	t.Setenv("BERTH_TEST_SEED", "18446744073709551615")
	if got := Seed(t); got != 1<<64-1 {
		t.Errorf("%d is not the seed that was given", got)
	}
	t.Setenv("BERTH_TEST_SEED", "")
	if first, second := Seed(t), Seed(t); first == second {
		t.Error("two seeds are the same")
	}
}
