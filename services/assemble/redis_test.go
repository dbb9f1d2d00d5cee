package assemble_test

import (
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestR16_ConformanceWithoutTrustInRedis runs the table against split services
// while Redis forgets everything each second, grants every lock, and denies every
// lock. TestConformance_Split does without one.
func TestR16_ConformanceWithoutTrustInRedis(t *testing.T) {
	redis := testserver.StartLyingRedis(t, testserver.StartRedis(t).Addr())
	w := startSplit(t, conformanceSeed, redis.URL())
	for _, mode := range []testserver.RedisMode{
		testserver.RedisFlush, testserver.RedisGrantAll, testserver.RedisDenyAll,
	} {
		t.Run(string(mode), func(t *testing.T) {
			redis.SetMode(t, mode)
			conform(t, w.conformance())
		})
	}
	w.stop(t)
	w.wantSound(t)
	if redis.Commands() == 0 {
		t.Error("nobody asked Redis")
	}
}
