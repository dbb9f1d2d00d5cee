package assemble

import (
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
)

// The settings and the storage protocol name the same waits, in packages that
// do not know each other.
func TestDefaultLifetimesAgree(t *testing.T) {
	if got := lifetimes(boot.Default()); got != meta.DefaultLifetimes {
		t.Errorf("the default settings make %+v, want %+v", got, meta.DefaultLifetimes)
	}
}
