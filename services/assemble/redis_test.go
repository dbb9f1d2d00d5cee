package assemble_test

import (
	"math/rand/v2"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestR16_ConformanceWithoutTrustInRedis runs the table against split services
// while Redis forgets everything each second, grants every lock, and denies every
// lock; in one of these ways in the common run. TestConformance_Split does without
// Redis.
func TestR16_ConformanceWithoutTrustInRedis(t *testing.T) {
	redis := testserver.StartLyingRedis(t, testserver.StartRedis(t).Addr())
	w := startSplit(t, conformanceSeed, redis.URL())
	modes := []testserver.RedisMode{testserver.RedisFlush, testserver.RedisGrantAll, testserver.RedisDenyAll}
	chance := rand.New(rand.NewPCG(dice.Seed(t), 0))
	chance.Shuffle(len(modes), func(i, j int) { modes[i], modes[j] = modes[j], modes[i] })
	for _, mode := range modes[:dice.Count(t, 1, len(modes))] {
		t.Run(string(mode), func(t *testing.T) {
			redis.SetMode(t, mode)
			conform(t, w.conformance())
		})
	}
	w.stop(t)
	w.wantSound(t)
	if redis.Commands() == 0 {
		t.Error("no call reached Redis")
	}
}
