// Package dice gives tests that play with chance their seed and their count.
package dice

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed is the seed of a test that plays dice: BERTH_TEST_SEED, or a new one. A
// failing test prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64() //nolint:gosec // for tests only
	if s := os.Getenv("BERTH_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("BERTH_TEST_SEED: %v", err)
		}
	}
	t.Logf("BERTH_TEST_SEED=%d", seed)
	return seed
}

// Count is how often a test does what it counts: long, the row's full number,
// when BERTH_LONG=1 as in make long, and otherwise ci.
func Count(t testing.TB, ci, long int) int {
	t.Helper()
	n := ci
	if os.Getenv("BERTH_LONG") == "1" {
		n = long
	}
	t.Logf("count %d, of %d in the long run", n, long)
	return n
}
