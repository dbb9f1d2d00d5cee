package pgmeta

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta/metatest"
)

func TestConformance(t *testing.T) {
	metatest.Run(t, func(t *testing.T) metatest.Harness {
		s := open(t, Options{})
		c := newClock(t, s)
		return metatest.Harness{Store: s, Advance: c.Advance, Now: c.Now}
	})
}
