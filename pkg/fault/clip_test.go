package fault

import (
	"strings"
	"testing"
)

// However much of a request an error quotes, what is answered and logged is bounded.
func TestS6_ErrorsQuoteABoundedPart(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 30_000)
	e := New(Invalid, RequestInvalid, "%q is not valid", long).WithField(long).WithDetail(map[string]string{"name": long})
	detail := e.Detail.(map[string]string)["name"]
	for what, text := range map[string]string{"message": e.Message, "field": e.Field, "detail": detail, "text": e.WithDetail(long).Detail.(string)} {
		if len(text) > MaxText+40 || !strings.Contains(text, "bytes more)") {
			t.Errorf("%s: %d bytes", what, len(text))
		}
	}
}
