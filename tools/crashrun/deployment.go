package main

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// deployment is one shape in which Berth runs, with one process in it that is
// killed: its victim. Methods are for one goroutine.
type deployment interface {
	// start brings everything up.
	start(ctx context.Context) error
	// close ends everything.
	close() error
	// log is the end of what the victim wrote.
	log() string

	// victim is who the client asks first.
	victim() *ociclient.Client
	// admin is the admin API of the node that a client asks, below the tenant's
	// registry.
	admin(of *ociclient.Client) *ociclient.Client
	// survive is called when the victim was killed. It returns who the client
	// asks from then on. With heir, that is another node, if there is one; with
	// inspect, fsck finds nothing in what the victim left.
	survive(ctx context.Context, heir, inspect bool) (*ociclient.Client, error)
	// whole brings the victim up again if it still is down.
	whole(ctx context.Context) error
	// stop ends the victim in order, kill without warning; revive starts it.
	stop() error
	kill() error
	revive(ctx context.Context) error

	// fsck examines everything and returns what berth fsck says.
	fsck(ctx context.Context, deep bool) (string, error)
	// ask gets from the admin API what is below the client's tenant.
	ask(ctx context.Context, path string, answer any) error
	// aside does something that no server may be up for where only one process
	// may have the data.
	aside(ctx context.Context, do func() error) error
	// clean runs a janitor that removes all garbage at once, as a process of its
	// own that is watched: errKilled when it died of that. The nth, from 0, continues
	// where those before have died. Call it aside.
	clean(ctx context.Context, nth int) error
}

// errKilled is the end of a process that the watch has killed.
var errKilled = errors.New("killed, as it was to be")
