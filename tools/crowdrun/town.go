package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
	"github.com/berth-registry/berth/tools/testserver"
)

const operatorToken = "operator-token-of-a-crowd-that-is-long-enough"

// town is a running server with tenants, each with one account.
type town struct{ *server.Server }

// startTown starts a server, on Postgres or embedded.
func startTown(ctx context.Context, o options, dir string, postgres bool, settings ...string) (*town, error) {
	settings = append(settings, "BERTH_OPERATOR_TOKEN="+operatorToken)
	if postgres {
		meta, err := testserver.NewPostgres(ctx)
		if err != nil {
			return nil, err
		}
		blobs, err := testserver.NewS3()
		if err != nil {
			return nil, err
		}
		settings = append(settings, "BERTH_META="+meta, "BERTH_BLOBS="+blobs, "BERTH_INTERNAL_KEY="+operatorToken, "BERTH_SECRET_KEY="+operatorToken)
	}
	srv, err := server.New(o.berth, dir, settings...)
	if err == nil {
		err = srv.Start(ctx)
	}
	if err != nil {
		if srv != nil {
			err = fmt.Errorf("%w\nend of the server's log:\n%s", err, srv.LogTail())
		}
		return nil, err
	}
	return &town{srv}, nil
}

// resident makes a tenant whose registry has the given settings in JSON, and a
// client of it that holds as many connections as it has calls at once.
func (t *town) resident(ctx context.Context, slug, fields, registry string) (*ociclient.Client, error) {
	var made json.RawMessage
	if err := t.Call(ctx, operatorToken, http.MethodPost, "/v1/tenants?tenant_id="+slug, `{}`, &made); err != nil {
		return nil, err
	}
	if fields != "" {
		path := "/v1/tenants/" + slug + "/registries/main?update_mask=" + fields
		if err := t.Call(ctx, operatorToken, http.MethodPatch, path, registry, &made); err != nil {
			return nil, err
		}
	}
	secret, err := t.AccountOf(ctx, operatorToken, slug, "ci")
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(t.Data, ":")
	return &ociclient.Client{
		Base: "http://" + t.Data, Host: slug + ".localhost:" + port, User: "ci", Secret: secret,
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 2 * time.Minute},
	}, nil
}

// pusher pushes small images, one after the other, and counts what is refused.
type pusher struct {
	client  *ociclient.Client
	made    atomic.Int64
	refused atomic.Int64
	last    atomic.Pointer[error]
}

// work pushes until ctx ends, and adds how long each push took.
func (p *pusher) work(ctx context.Context, to *latencies) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := p.push(context.WithoutCancel(ctx)); err != nil {
			p.refused.Add(1)
			p.last.Store(&err)
		}
		to.add(began)
	}
}

// push is a blob and the manifest that names it.
func (p *pusher) push(ctx context.Context) error {
	config := ocitest.ConfigBy(strconv.FormatInt(p.made.Add(1), 10))
	if err := p.client.PostBlob(ctx, "app", config.Digest.String(), config.Bytes); err != nil {
		return err
	}
	return p.client.PutManifest(ctx, "app", "v1", ocitest.Manifest(config).Bytes)
}

// why is the last refusal, for a message.
func (p *pusher) why() error {
	if err := p.last.Load(); err != nil {
		return *err
	}
	return nil
}

// during runs the pusher for as long as what else happens, and watches whether
// the server is ready all the while.
func (t *town) during(ctx context.Context, p *pusher, what func() error) (*latencies, int, error) {
	ctx, cancel := context.WithCancel(ctx)
	var times latencies
	unready := 0
	pushed, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(pushed); p.work(ctx, &times) }()
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			if !t.Ready(context.WithoutCancel(ctx)) {
				unready++
			}
			_ = pause.For(ctx, 100*time.Millisecond)
		}
	}()
	err := what()
	cancel()
	<-pushed
	<-watched
	return &times, unready, err
}

// judge joins what is worse than promised, unless the run is for figures only.
func judge(o options, out io.Writer, worse ...error) error {
	err := errors.Join(worse...)
	if err != nil && o.figures {
		fmt.Fprintf(out, "  worse than promised: %v\n", err)
		return nil
	}
	return err
}

// within is nil unless took is longer than bound.
func within(what string, took, bound time.Duration) error {
	if took > bound {
		return fmt.Errorf("%s: %s, more than %s", what, took.Round(time.Millisecond), bound.Round(time.Millisecond))
	}
	return nil
}
