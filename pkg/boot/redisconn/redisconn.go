// Package redisconn connects a process to Redis, and bounds the delay of requests
// when Redis is down or slow.
package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// callTimeout bounds a call, from asking the pool for a connection to the reply.
const callTimeout = 50 * time.Millisecond

// connectTimeout bounds the making of a connection, with TLS. A call does not
// wait for it that long: a later one finds the connection ready.
const connectTimeout = time.Second

// poolSize bounds the connections of a process; subscriptions come on top.
const poolSize = 16

// Options are the URL of Redis and limits. Only URL is required.
type Options struct {
	URL     string        // redis://, rediss:// or unix://
	Log     *slog.Logger  // of outages of Redis and their end; may be nil
	Timeout time.Duration // bounds each call; default 50 ms
}

// go-redis logs by itself what its callers see as errors.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Open makes a client, which all users in a process with the same timeout share;
// the caller closes it. The error is for an invalid URL, and names the setting. If
// Redis does not respond, that is logged and not an error: then calls fail at once,
// except for one retry a second.
//
// Any error of a call but redis.Nil means that Redis did not respond.
func Open(ctx context.Context, o Options) (*redis.Client, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = callTimeout
	}
	settings, err := parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("redis: %w; it is of the form redis://cache.example.com:6379/0", err)
	}
	bound(settings, o.Timeout)
	client := redis.NewClient(settings)
	client.AddHook(newBreaker(o.Timeout, o.Log.With("redis", settings.Addr)))
	// The breaker logs a Redis that fails twice, and this says at once that it is down.
	if err := Ping(ctx, client); err != nil {
		o.Log.WarnContext(ctx, "redis does not answer; nodes do without what it would save them", "redis", settings.Addr, "error", err)
	}
	return client, nil
}

// Ping says whether Redis answers, for display: a process without it is ready
// anyway. The error holds no secret.
func Ping(ctx context.Context, client *redis.Client) error { return client.Ping(ctx).Err() }

// parse reads the URL. Its errors never show the password.
func parse(raw string) (*redis.Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var detail *url.Error
		if errors.As(err, &detail) { // it repeats the whole URL
			err = detail.Err
		}
		return nil, fmt.Errorf("the URL cannot be read: %w", err)
	}
	if u.Query().Has("skip_verify") { // contract E15
		return nil, errors.New("skip_verify in the URL: the verification of TLS cannot be switched off")
	}
	o, err := redis.ParseURL(raw)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "redis: "))
	}
	return o, nil
}

// bound gives o limits that no URL can widen.
func bound(o *redis.Options, timeout time.Duration) {
	o.Protocol = 2 // in which the server says nothing that was not asked for
	o.DialTimeout = connectTimeout
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout
	o.ContextTimeoutEnabled = true // the bound of the whole call, which the breaker sets
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.PoolSize, o.MaxActiveConns = poolSize, poolSize
	o.MinIdleConns = 0
	o.PipelinePoolSize = -1 // no second pool
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.TLSConfig != nil {
		o.TLSConfig.MinVersion = tls.VersionTLS12
	}
}
