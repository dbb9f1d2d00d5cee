package admin

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
)

// defaultPatience is Options.Patience unless it is given.
const defaultPatience = 30 * time.Second

// callPace bounds how long a call waits for its client: for its message, and for its
// answer to be taken. gRPC has no such bound; what the client says of deadlines is its
// own choice.
type callPace struct {
	patience time.Duration
	proxies  []netip.Prefix // that say for whom they call
}

var errCallTooSlow = errors.New("the client of the call was too slow")

type callTimerKey struct{}

// callTimer ends the call when it runs out.
type callTimer struct {
	*time.Timer
	patience time.Duration
}

// tap begins the wait for the message of a call. It is what gRPC asks first.
func (p callPace) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	patience := cmp.Or(p.patience, defaultPatience)
	inner, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(patience, func() { cancel(errCallTooSlow) })
	context.AfterFunc(ctx, func() { timer.Stop() }) // the stream has ended
	inner = context.WithValue(inner, proxiesKey{}, p.proxies)
	return context.WithValue(inner, callTimerKey{}, callTimer{timer, patience}), nil
}

// stopWaiting says that the message is there.
func stopWaiting(ctx context.Context) {
	if t, ok := ctx.Value(callTimerKey{}).(callTimer); ok {
		t.Stop()
	}
}

// startWaiting says that the call waits for its client again.
func startWaiting(ctx context.Context) {
	if t, ok := ctx.Value(callTimerKey{}).(callTimer); ok {
		t.Reset(t.patience)
	}
}

// tooSlow says whether the call was ended because its client was too slow.
func tooSlow(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errCallTooSlow) }

// received is for the calls that are not operations: their message is there.
func received(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	stopWaiting(ctx)
	defer startWaiting(ctx)
	return next(ctx, req)
}

// pacedStream bounds each wait for a message of a stream.
func pacedStream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, waitingStream{s})
}

type waitingStream struct{ grpc.ServerStream }

// RecvMsg waits for the patience of a call at most.
func (s waitingStream) RecvMsg(m any) error {
	startWaiting(s.Context())
	return s.ServerStream.RecvMsg(m)
}

// SendMsg waits no longer.
func (s waitingStream) SendMsg(m any) error {
	startWaiting(s.Context())
	return s.ServerStream.SendMsg(m)
}
