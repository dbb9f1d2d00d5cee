package tenant

import "context"

// Changes tells the other processes of a deployment that what hosts lead to has
// changed, so that they clear their Directory before CacheTTL does.
type Changes interface {
	// Announce is called after a change. It takes a moment at most, and a message
	// may be lost: nobody is ever wrong for longer than CacheTTL.
	Announce(ctx context.Context)
}
