package redischanges

import (
	"log/slog"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/tools/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// No bytes in the place of a message do more than end the subscription.
func TestR16_GarbageInPlaceOfMessages(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	proxy := testserver.StartLyingRedis(t, server.Addr())
	client, err := redisconn.Open(t.Context(), redisconn.Options{URL: proxy.URL(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := New(client, slog.New(slog.DiscardHandler), func() {})
	for range dice.Count(t, 50, 500) { // more than there are kinds of garbage
		proxy.SetMode(t, testserver.RedisHonest)
		heard, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- c.listen(t.Context(), func() { close(heard) }) }()
		<-heard
		proxy.SetMode(t, testserver.RedisGarbage)
		for running := true; running; {
			server.Do("PUBLISH", channel, "a message")
			select {
			case err := <-ended:
				if err == nil {
					t.Error("it ended without an error")
				}
				running = false
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}
