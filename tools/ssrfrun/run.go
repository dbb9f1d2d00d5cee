package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/berth-registry/berth/tools/internal/server"
)

const token = "operator-token-of-ssrfrun"

// attempt is all that is done to lead Berth astray.
type attempt struct {
	server  *server.Server
	sink    *sink
	hostile *hostile
	out     io.Writer
	refused int // forms that the admin API did not take
	pulls   int
	n       int
	way     string            // of the upstreams that are made
	words   map[string]string // of upstreams that configuration refuses: anyway
}

func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "ssrfrun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := furnish(ctx, dir); err != nil {
		return err
	}
	a := &attempt{out: out, words: map[string]string{}}
	if a.sink, err = openSink(ctx); err != nil {
		return err
	}
	if err := serveNames(ctx); err != nil {
		return err
	}
	if a.hostile, err = serveHostile(ctx); err != nil {
		return err
	}
	if err := serveProxy(ctx, map[string]string{hostileName + ":443": a.hostile.secure.Listener.Addr().String()}); err != nil {
		return err
	}
	authority := filepath.Join(dir, "authority.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.hostile.secure.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		return err
	}
	file := filepath.Join(dir, "operator-token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return err
	}
	a.server, err = server.New(o.berth, dir, "BERTH_OPERATOR_TOKEN_FILE="+file, "BERTH_UPSTREAM_ALLOW="+hostileAddr+"/32:5001,"+allowedNetwork,
		"BERTH_UPSTREAM_PROXIES="+proxies, "BERTH_UPSTREAM_DENY="+denied, "BERTH_UPSTREAM_CA="+authority,
		"BERTH_MAX_UPSTREAMS=100000", // deleted ones count until the janitor has been there
		"BERTH_MAX_WEBHOOKS=2000")
	if err != nil {
		return err
	}
	if err := a.server.Start(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, a.server.LogTail())
	}
	err = a.all(ctx, strings.Split(o.ways, ","), o.fetches)
	if stopped := a.server.Stop(); err == nil {
		err = stopped
	}
	return err
}

func (a *attempt) all(ctx context.Context, ways []string, fetches int) error {
	for _, a.way = range ways {
		if err := a.allBy(ctx, fetches); err != nil {
			return fmt.Errorf("by way %q: %w", a.way, err)
		}
	}
	fmt.Fprintf(a.out, "ok ssrfrun: %d forms in %d places by the ways %s, %d not even taken, %d pulls: no connection into a network that is not public\n",
		len(forms()), len(places)+1, strings.Join(ways, ", "), a.refused, a.pulls)
	return a.asWebhooks(ctx)
}

func (a *attempt) allBy(ctx context.Context, fetches int) error {
	clear(a.words)
	if err := a.control(ctx); err != nil {
		return err
	}
	all := forms()
	if a.way != "direct" {
		all = plainForms()
	}
	for _, f := range all {
		if err := a.asUpstream(ctx, f); err != nil {
			return err
		}
	}
	if err := a.sinkUntouched(ctx, "the URL of an upstream"); err != nil {
		return err
	}
	if len(a.words) != 1 {
		return fmt.Errorf("tenants are distinguished why an upstream is refused: %v", a.words)
	}
	for _, place := range places {
		for _, f := range append(all, allowedForms()...) {
			a.hostile.lead(place, f.url())
			if err := a.throughHostile(ctx, place); err != nil {
				return err
			}
		}
		if err := a.sinkUntouched(ctx, place); err != nil {
			return err
		}
	}
	if a.way == "names" {
		return nil // the proxy resolves: Berth sees no address that could change
	}
	return a.rebinding(ctx, fetches)
}

// control shows that what is public is connected to, and counted.
func (a *attempt) control(ctx context.Context) error {
	if ok, err := a.upstream(ctx, "https://outside.test"); err != nil || !ok {
		return fmt.Errorf("a public upstream is refused: %w", err)
	}
	if _, err := a.pull(ctx, "manifests/1"); err != nil {
		return err
	}
	taken, err := a.settled(ctx, "a public upstream")
	if err != nil {
		return err
	}
	if taken[netip.MustParseAddr(outside)] == 0 {
		return fmt.Errorf("the sink counted no connection at %s: it proves nothing", outside)
	}
	return nil
}

// sinkUntouched fails if there was a connection to an address that is not public.
func (a *attempt) sinkUntouched(ctx context.Context, place string) error {
	_, err := a.settled(ctx, place)
	return err
}

// settled is sinkUntouched, and says who was connected to.
func (a *attempt) settled(ctx context.Context, place string) (map[netip.Addr]int, error) {
	if err := a.sink.settle(ctx); err != nil {
		return nil, err
	}
	taken := a.sink.take()
	for at, n := range taken {
		if at != barrier && at.String() != outside {
			return nil, fmt.Errorf("%s led to %d connections to %s", place, n, at)
		}
	}
	return taken, nil
}

// asUpstream makes the form the URL of an upstream, if the API takes it, and
// pulls from it.
func (a *attempt) asUpstream(ctx context.Context, f form) error {
	ok, err := a.upstream(ctx, f.url())
	if err != nil {
		return err
	}
	if !ok {
		a.refused++
		return nil
	}
	status, body, err := a.get(ctx, "manifests/1")
	if err != nil {
		return err
	}
	if status < 500 {
		return fmt.Errorf("a pull from %s is answered %d: %s", f.url(), status, body)
	}
	return nil
}

// throughHostile pulls all that there is from the hostile upstream.
func (a *attempt) throughHostile(ctx context.Context, place string) error {
	if ok, err := a.upstream(ctx, a.hostile.url(a.way)); err != nil || !ok {
		return fmt.Errorf("the hostile upstream is refused: %w", err)
	}
	what := map[string]string{
		"realm": "manifests/1", "manifest redirect": "manifests/1", "list link": "tags/list",
		"referrers redirect": "referrers/" + manifest.Digest.String(),
	}[place]
	if what == "" {
		if _, err := a.pull(ctx, "manifests/1"); err != nil {
			return err
		}
		what = "blobs/" + config.Digest.String()
	}
	status, err := a.pull(ctx, what)
	if err == nil && status == http.StatusNotFound {
		err = fmt.Errorf("%s: an outage is answered as not found", place)
	}
	return err
}

// rebinding asks for a name that leads outside and inside in turn (E2).
func (a *attempt) rebinding(ctx context.Context, fetches int) error {
	for range fetches {
		ok := false
		for range 3 { // it is refused where its name leads inside just now
			var err error
			if ok, err = a.upstream(ctx, "https://"+strings.TrimSuffix(rebound, ".")); err != nil {
				return err
			}
			if ok {
				break
			}
		}
		if !ok {
			return errors.New("an upstream is refused by its name, wherever that leads")
		}
		if _, err := a.pull(ctx, "manifests/1"); err != nil {
			return err
		}
	}
	return a.sinkUntouched(ctx, "a name that leads elsewhere each time")
}

// upstream makes a new upstream in place of the last one; false where the admin
// API refuses its URL.
func (a *attempt) upstream(ctx context.Context, url string) (bool, error) {
	before := a.n
	body, err := json.Marshal(map[string]string{"url": url, "proxy": a.way})
	if err != nil {
		return false, err
	}
	status, answer, err := a.send(ctx, http.MethodPost, "http://"+a.server.Admin+fmt.Sprintf("/v1/tenants/default/upstreams?upstream_id=u%d", before+1), string(body), token)
	if err == nil && status != http.StatusOK && status != http.StatusBadRequest {
		err = fmt.Errorf("an upstream at %q is answered %d: %s", url, status, answer)
	}
	if strings.Contains(answer, "refused by configuration") {
		a.words[quoted.ReplaceAllString(answer, "")] = url
	}
	if err != nil || status != http.StatusOK {
		return false, err
	}
	a.n++
	if err := a.mirror(ctx); err != nil || before == 0 {
		return err == nil, err
	}
	err = a.server.Call(ctx, token, http.MethodDelete, fmt.Sprintf("/v1/tenants/default/upstreams/u%d", before), "", &struct{}{})
	return err == nil, err
}

// mirror makes the newest upstream the one that the default registry answers for.
func (a *attempt) mirror(ctx context.Context) error {
	return a.server.Call(ctx, token, http.MethodPatch, "/v1/tenants/default/registries/main?update_mask=mirror_upstreams",
		fmt.Sprintf(`{"mirror_upstreams": ["u%d"]}`, a.n), &struct{}{})
}

// quoted is the URL in a message.
var quoted = regexp.MustCompile(`\\"[^"]*\\"`)

// pull asks the newest upstream for something, and returns the status.
func (a *attempt) pull(ctx context.Context, what string) (int, error) {
	status, _, err := a.get(ctx, what)
	return status, err
}

func (a *attempt) get(ctx context.Context, what string) (int, string, error) {
	a.pulls++
	return a.send(ctx, http.MethodGet, fmt.Sprintf("http://%s/v2/proxy/u%d/app/%s", a.server.Data, a.n, what), "", "")
}

func (a *attempt) send(ctx context.Context, method, url, body, bearer string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
