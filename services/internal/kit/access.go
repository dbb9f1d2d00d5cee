package kit

import (
	"context"
	"fmt"

	"github.com/go-kit/kit/endpoint"
)

// Access authorises every operation by its rule, before the operation sees the
// request. Building it for an operation that has no rule panics with the
// operation's name: nothing is open because somebody forgot it.
func Access[Rule any](rules map[string]Rule, decide func(ctx context.Context, rule Rule, req any) error) Middleware {
	return func(op string) endpoint.Middleware {
		rule, ok := rules[op]
		if !ok {
			panic(fmt.Sprintf("kit: operation %q has no access rule", op))
		}
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				if err := decide(ctx, rule, req); err != nil {
					return nil, err
				}
				return next(ctx, req)
			}
		}
	}
}
