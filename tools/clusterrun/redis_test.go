package clusterrun

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestR15_RedisForgetsAndDies flushes Redis once a second, stops its process,
// kills it and starts it again, all under load. No request is any worse for it:
// all are answered, and none is told "later".
func TestR15_RedisForgetsAndDies(t *testing.T) {
	flushes := dice.Count(t, 4, 120)
	redis := testserver.StartRedis(t)
	c := newCluster(t, whole, "BERTH_REDIS="+redis.URL())
	l := c.begin(12)
	asked := commandsOf(redis)
	for range flushes {
		l.lull(time.Second)
		redis.Flush()
	}
	// Each flush is a command too, and each count is one.
	if n := commandsOf(redis) - asked; n < 10*flushes {
		t.Errorf("the nodes asked Redis %d times in %d s: they do without it", n, flushes)
	}
	redis.Pause()
	l.lull(2 * time.Second)
	redis.Resume()
	l.lull(time.Second)
	redis.Kill()
	l.lull(2 * time.Second)
	redis.Start()
	l.lull(time.Second)
	l.end()
	c.noneCut()
	c.noneRefused()
	c.verify()
}

var commandsProcessed = regexp.MustCompile(`total_commands_processed:(\d+)`)

// commandsOf is how many commands the server has had.
func commandsOf(redis *testserver.RedisServer) int {
	text, _ := redis.Do("INFO", "stats").(string)
	n, _ := strconv.Atoi(append(commandsProcessed.FindStringSubmatch(text), "", "")[1])
	return n
}
