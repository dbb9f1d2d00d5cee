package s3blob_test

import (
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/fault"
)

// TestR28_ReadyIsOneCall asks whether the store answers, as a node does every few
// seconds: it must not look for an object that is missing, again and again.
func TestR28_ReadyIsOneCall(t *testing.T) {
	s, p := openProxied(t, s3blob.Options{})
	p.play("HeadBucket", nil)
	if err := blob.Ping(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n := p.play("HeadBucket", answer(http.StatusForbidden, "AccessDenied")); n != 1 {
		t.Errorf("the bucket was asked for %d times", n)
	}
	if n := p.play("HeadObject", nil); n != 0 {
		t.Errorf("objects were asked for %d times", n)
	}
	if err := blob.Ping(t.Context(), s); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a bucket without access: %v", err)
	}
}
