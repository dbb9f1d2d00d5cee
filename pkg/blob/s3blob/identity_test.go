package s3blob_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/blobtest"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestIdentity(t *testing.T) {
	t.Parallel()
	buckets := map[blob.Store]string{}
	open := func(t testing.TB) blob.Store {
		address := testserver.S3(t)
		s := open(t, address, s3blob.Options{PartBytes: partBytes})
		buckets[s] = address
		return s
	}
	blobtest.TestIdentity(t, open, func(t testing.TB, s blob.Store) { testserver.S3Lose(t, buckets[s], "berth-identity") })
}

// A bucket that is not there carries no answer about what it holds.
func TestIdentityOfAMissingBucket(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	p.play("GetObject", func(w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) bool {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>NoSuchBucket</Code></Error>`))
		return true
	})
	if _, err := s.ReadIdentity(t.Context()); errors.Is(err, blob.ErrMissing) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("read: %v, want an outage", err)
	}
}

// Two that write at once: the store compares, where it can; where it cannot, the
// identity is written anyway.
func TestH5_IdentityIsWrittenOnConditionWhereThatCanBe(t *testing.T) {
	t.Parallel()
	for _, can := range []bool{true, false} {
		s, p := openProxied(t, s3blob.Options{})
		conditional := 0
		p.play("PutObject", func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
			if r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == "" {
				return false
			}
			conditional++
			if !can {
				w.WriteHeader(http.StatusNotImplemented)
				_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>NotImplemented</Code></Error>`))
			}
			return !can
		})
		first, second := identity.New(), identity.New()
		if err := s.WriteIdentity(t.Context(), identity.Identity{}, first); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteIdentity(t.Context(), first, second); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ReadIdentity(t.Context()); err != nil || got != second || conditional < 2 {
			t.Errorf("read %v, %v after %d conditional writes; want %v", got, err, conditional, second)
		}
	}
}

// The identity that another process puts there between the look and the write
// stays.
func TestIdentityOfAnotherIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	other := open(t, p.direct, s3blob.Options{})
	theirs := identity.New()
	p.play("PutObject", func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
		if r.Header.Get("If-None-Match") != "" {
			if err := other.WriteIdentity(r.Context(), identity.Identity{}, theirs); err != nil && !errors.Is(err, blob.ErrChanged) {
				t.Error(err)
			}
		}
		return false
	})
	if err := s.WriteIdentity(t.Context(), identity.Identity{}, identity.New()); !errors.Is(err, blob.ErrChanged) {
		t.Errorf("written over: %v", err)
	}
	if got, err := s.ReadIdentity(t.Context()); err != nil || got != theirs {
		t.Errorf("read %v, %v", got, err)
	}
}

// Who only reads writes nothing, not even to see whether it could.
func TestH1_ReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	p.play("PutObject", nil)
	s := open(t, p.address, s3blob.Options{ReadOnly: true})
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.play("PutObject", nil) + p.play("DeleteObject", nil); n > 0 {
		t.Errorf("%d objects written or deleted", n)
	}
}
