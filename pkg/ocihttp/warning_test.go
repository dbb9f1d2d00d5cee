package ocihttp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

// TestN7_WarningsRepeatTheReason of what people should read, also for HEAD, which
// has no body; what clients meet in every push has none. There are no quotes in the text:
// regctl would show it up to the first.
func TestN7_WarningsRepeatTheReason(t *testing.T) {
	unknown := fault.New(fault.NotFound, fault.ManifestUnknown, "none")
	for _, c := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.Denied, fault.DeniedReason, `account "ci" may not push`), `299 - "account 'ci' may not push"`},
		{fault.New(fault.Denied, fault.DeniedReason, "a\r\nB: c\\ä"), `299 - "a??B: c\\?"`},
		{fault.New(fault.BadUpstream, fault.UnavailableReason, "out"), `299 - "out"`},
		{fault.New(fault.TooMany, fault.TooManyRequests, "slow down"), `299 - "slow down"`},
		{fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "log in"), ""},
		{unknown, ""},
		{unknown.WithWarning(), `299 - "none"`},
		{fault.New(fault.Internal, fault.InternalReason, "internal error"), ""},
	} {
		for _, method := range []string{http.MethodHead, http.MethodPut} {
			if got := writeError(t, method, c.err, nil).Header().Get("Warning"); got != c.want {
				t.Errorf("%v: Warning: %s, want %s", c.err, got, c.want)
			}
		}
	}
	long := writeError(t, http.MethodGet, fault.New(fault.Denied, fault.DeniedReason, "%s", strings.Repeat(`"`, 5000)), nil)
	if n := len(long.Header().Get("Warning")); n > 1100 {
		t.Errorf("%d bytes", n)
	}
}
