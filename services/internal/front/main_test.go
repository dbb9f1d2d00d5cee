package front_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A transport's attempt to connect outlives the request that wanted it, up to its own
// timeout: TestRemoteIsDown connects to an address where no one accepts.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*Transport).dialConnFor"))
}
