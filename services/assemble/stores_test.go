package assemble

import (
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
)

// The settings and the storage protocol name the same waits, in packages that
// do not know each other. Files differ in one.
func TestDefaultLifetimesAgree(t *testing.T) {
	files := meta.DefaultLifetimes
	files.Evicted = evictedFile
	bucket := boot.Default()
	bucket.Blobs = boot.NewURL("s3://bucket")
	for _, c := range []struct {
		config boot.Config
		want   meta.Lifetimes
	}{{boot.Default(), files}, {bucket, meta.DefaultLifetimes}} {
		if got := lifetimes(c.config); got != c.want {
			t.Errorf("the default settings with blobs in %q make %+v, want %+v", c.config.Blobs, got, c.want)
		}
	}
}
