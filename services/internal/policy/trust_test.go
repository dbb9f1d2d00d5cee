package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
)

// TestW174_TheTrustOfTheOperator counts where a tenant has none of its own, as long as it can be
// read. A root is parsed once.
func TestW174_TheTrustOfTheOperator(t *testing.T) {
	var text string
	var lost error
	trust := NewTrust(func() (string, error) { return text, lost })
	text = keylesstest.New().Root(keylesstest.Timestamps)
	first, err := trust.Root("")
	again, err2 := trust.Root("")
	if err := errors.Join(err, err2, trust.Check()); err != nil || first != again {
		t.Fatalf("%p, %p, %v", first, again, err)
	}
	own, err := trust.Root(keylesstest.New().Root(keylesstest.Logs))
	if err != nil || own == first {
		t.Errorf("%p, %v", own, err)
	}
	if same, err := trust.Root(text); err != nil || same != first {
		t.Errorf("the same text is parsed once more: %v", err)
	}
	refused := func(trust *Trust, of, why string) {
		t.Helper()
		if root, err := trust.Root(of); root != nil || err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%p, %v, want %q", root, err, why)
		}
	}
	text = "{}"
	refused(trust, "", "the trusted root of the operator cannot be read")
	lost = errors.New("/secret/path is missing")
	refused(trust, "", "the trusted root of the operator cannot be read")
	refused(trust, "{}", "it cannot be read")
	refused(NewTrust(nil), "", "neither here nor of the operator")
}
