package redisconn

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// After this many calls without a response in a row, all calls fail at once for a
// while; then one call tries.
const (
	breakAfter = 2
	tryAgain   = time.Second
)

// breaker is a hook around every call of a client, including those that set up a
// connection. It bounds their time and stops calling a Redis that is down.
type breaker struct {
	circuit *gobreaker.CircuitBreaker[struct{}]
	timeout time.Duration
}

var _ redis.Hook = breaker{}

func newBreaker(timeout time.Duration, log *slog.Logger) breaker {
	return breaker{timeout: timeout, circuit: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "redis",
		Timeout:     tryAgain,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateClosed:
				log.Info("redis answers again")
			case from == gobreaker.StateClosed:
				log.Warn("redis stopped answering; nodes do without what it would save them")
			}
		},
		IsSuccessful: answered,
		IsExcluded:   func(err error) bool { return errors.Is(err, errLeft) },
	})}
}

// errLeft marks a call whose caller gave up before Redis could: it says
// nothing about Redis.
var errLeft = errors.New("the caller left")

var errResting = errors.New("redis did not answer lately; it is asked again within a second")

// answered reports whether an error is a response of Redis.
func answered(err error) bool {
	var reply redis.Error
	return err == nil || errors.As(err, &reply)
}

// inCall marks the context of a call: what go-redis does within it to set a
// connection up is part of that call. Were it counted by itself, the one call
// that tries again could never get a connection.
type inCall struct{}

func (b breaker) call(ctx context.Context, run func(context.Context) error) error {
	if ctx.Value(inCall{}) != nil {
		return run(ctx)
	}
	var result error
	_, err := b.circuit.Execute(func() (struct{}, error) {
		bounded, cancel := context.WithTimeout(context.WithValue(ctx, inCall{}, true), b.timeout)
		defer cancel()
		result = run(bounded)
		if !answered(result) && ctx.Err() != nil {
			return struct{}{}, errLeft
		}
		return struct{}{}, result
	})
	switch {
	case result != nil:
		return result
	case err != nil:
		return errResting
	default:
		return nil
	}
}

// DialHook implements redis.Hook.
func (b breaker) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (b breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := b.call(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
		if err != nil && cmd.Err() == nil {
			cmd.SetErr(err)
		}
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (b breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := b.call(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
		if err != nil && !answered(err) {
			for _, cmd := range cmds {
				if cmd.Err() == nil {
					cmd.SetErr(err)
				}
			}
		}
		return err
	}
}
