package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-registry/berth/tools/internal/gate"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
)

// account is the name that clients use.
const account = "crashrun"

// embedded is one process on one directory. Its steps are the system calls that
// change the directory or a socket, each before it has any effect; since the
// kernel keeps what a killed process wrote, the moment after a call is the one
// before the next.
type embedded struct {
	*watch
	srv    *server.Server
	data   string
	client *ociclient.Client

	operator *ociclient.Client
	stopped  bool // for something aside
}

func newEmbedded(berth, dir string, w *watch) (*embedded, error) {
	srv, err := server.New(berth, dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{watch: w, srv: srv, data: filepath.Join(dir, "data")}
	srv.Keeper = e.keep
	return e, nil
}

func (e *embedded) start(ctx context.Context) error {
	if err := e.srv.Start(ctx); err != nil {
		return err
	}
	secret, err := e.srv.Account(ctx, account)
	if err != nil {
		return err
	}
	e.client = newClient(e.srv.Data, "", secret)
	token, err := os.ReadFile(filepath.Join(e.data, "operator-token"))
	e.operator = newAdmin(e.srv, "default", strings.TrimSpace(string(token)), e.client)
	return err
}

// newClient makes a client that asks a node under a host name.
func newClient(addr, host, secret string) *ociclient.Client {
	return &ociclient.Client{
		Base: "http://" + addr, Host: host, User: account, Secret: secret,
		HTTP: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableCompression: true}},
	}
}

// newAdmin makes a client of a node's admin API, below the registry main of the
// tenant, by the way that another client takes.
func newAdmin(srv *server.Server, tenant, token string, like *ociclient.Client) *ociclient.Client {
	return &ociclient.Client{Base: "http://" + srv.Admin + "/v1/tenants/" + tenant + "/registries/main", Token: token, HTTP: like.HTTP}
}

func (e *embedded) close() error                              { return e.srv.Kill() }
func (e *embedded) log() string                               { return e.srv.LogTail() }
func (e *embedded) victim() *ociclient.Client                 { return e.client }
func (e *embedded) admin(*ociclient.Client) *ociclient.Client { return e.operator }
func (e *embedded) stop() error                               { return e.srv.Stop() }
func (e *embedded) kill() error                               { return e.srv.Kill() }

func (e *embedded) revive(ctx context.Context) error { return e.srv.Start(ctx) }

// survive starts the server again: on what the killed one left, or on what fsck
// has opened before.
func (e *embedded) survive(ctx context.Context, _, inspect bool) (*ociclient.Client, error) {
	if err := e.srv.Kill(); err != nil {
		return nil, err
	}
	if inspect {
		if said, err := e.check(ctx, false); err != nil {
			return nil, errors.Join(err, errors.New(said))
		}
	}
	return e.client, e.srv.Start(ctx)
}

func (e *embedded) whole(context.Context) error { return nil } // survive has

// fsck stops the server meanwhile, unless it is stopped.
func (e *embedded) fsck(ctx context.Context, deep bool) (string, error) {
	var said string
	check := func() error {
		var err error
		said, err = e.check(ctx, deep)
		return err
	}
	if e.stopped {
		return said, check()
	}
	err := e.aside(ctx, check)
	return said, err
}

func (e *embedded) aside(ctx context.Context, do func() error) error {
	if err := e.blind(e.srv.Stop); err != nil {
		return err
	}
	e.stopped = true
	err := do()
	e.stopped = false
	return errors.Join(err, e.blind(func() error { return e.srv.Start(ctx) }))
}

func (e *embedded) check(ctx context.Context, deep bool) (string, error) {
	args := []string{"fsck"}
	if deep {
		args = append(args, "--deep")
	}
	return e.srv.Run(ctx, args...)
}

func (e *embedded) ask(ctx context.Context, path string, answer any) error {
	return e.srv.Call(ctx, e.operator.Token, http.MethodGet, "/v1/tenants/default/"+path, "", answer)
}

func (e *embedded) clean(_ context.Context, nth int) error {
	cmd, err := janitorCommand(nth, "-data", e.data)
	if err != nil {
		return err
	}
	p, err := server.Begin(cmd, e.keep)
	if err != nil {
		return err
	}
	return e.endOf(p)
}

// keep names the calls that are steps.
func (e *embedded) keep(c gate.Call) bool { return e.reach(e.stepOf(c)) }

// verbs are what calls do, in the words of steps.
var verbs = map[string]string{
	"write": "write", "writev": "write", "pwrite64": "write", "pwritev": "write",
	"fsync": "sync", "fdatasync": "sync", "ftruncate": "truncate",
	"open": "create", "openat": "create", "mkdir": "make", "mkdirat": "make",
	"unlink": "remove", "unlinkat": "remove", "rename": "rename", "renameat": "rename", "renameat2": "rename",
}

// stepOf names a call by what it does to what; "" for what is not recorded, such as
// a line of the log.
func (e *embedded) stepOf(c gate.Call) string {
	name, below := strings.CutPrefix(c.Path, e.data+"/")
	var what string
	switch {
	case strings.HasPrefix(c.Path, "socket:"):
		what = "answer"
	case c.Path == e.data:
		what = "data directory"
	case !below:
		return ""
	case strings.HasPrefix(name, "blobs/o/") && strings.Count(name, "/") == 4:
		what = "object"
	case strings.HasPrefix(name, "blobs"):
		what = "blob directory"
	default:
		what = name // meta.db-wal and the like
	}
	return verbs[c.Name] + " " + what
}
