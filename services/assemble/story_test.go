package assemble_test

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/services/janitor"
)

// TestStory_Embedded tells the story of two tenants on one process with its
// directory.
func TestStory_Embedded(t *testing.T) { story(t, startEmbedded(t, "", shortLived)) }

// TestStory_OnServers tells it on one process with servers.
func TestStory_OnServers(t *testing.T) { story(t, startOnServers(t, "", "", shortLived)) }

// TestStory_Split tells it on split services.
func TestStory_Split(t *testing.T) { story(t, startSplit(t, "", "", shortLived)) }

// shortLived lets garbage go at once.
func shortLived(c *boot.Config) {
	c.Grace, c.DeleteDelay, c.UndeleteWindow = time.Microsecond, time.Microsecond, time.Microsecond
}

// customer is a tenant with the keys of its accounts.
type customer struct {
	w    *world
	id   string
	keys map[string]string // secrets by account
}

// customer provisions a tenant with a registry dev and an account of each role.
func (w *world) customer(t *testing.T, id string) customer {
	t.Helper()
	c := customer{w, id, map[string]string{}}
	w.admin(t, http.MethodPost, "/v1/tenants?tenant_id="+id, nothing).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, c.path("/registries?registry_id=dev"), map[string]any{"anonymous_pull": true}).want(t, http.StatusOK)
	for account, role := range map[string]string{"reader": "READER", "writer": "WRITER", "admin": "ADMIN"} {
		w.admin(t, http.MethodPost, c.path("/serviceAccounts?service_account_id="+account), map[string]any{"role": role}).want(t, http.StatusOK)
		var key struct{ Secret string }
		w.admin(t, http.MethodPost, c.path("/serviceAccounts/"+account+"/keys"), nothing).want(t, http.StatusOK).decode(t, &key)
		c.keys[account] = key.Secret
	}
	return c
}

// nothing is an empty JSON object.
var nothing = map[string]any{}

// path is in the admin API.
func (c customer) path(below string) string { return "/v1/tenants/" + c.id + below }

// host is that of the main registry.
func (c customer) host() string { return c.id + ".localhost" }

// repository is one of the main registry, as an account sees it.
func (c customer) repository(account, name string) repository { return c.in(c.host(), account, name) }

// in is one of the registry at the host; an empty account is anonymous.
func (c customer) in(host, account, name string) repository {
	client := c.w.client
	if account != "" {
		client = &http.Client{Transport: authorized{client.Transport, account, c.keys[account]}}
	}
	return repository{deployment{base: c.w.registry(host), client: client}, name}
}

// used is what the tenant is charged with.
func (c customer) used(t *testing.T) int {
	t.Helper()
	var usage struct {
		UsedBytes string `json:"used_bytes"`
	}
	c.w.admin(t, http.MethodGet, c.path("/usage"), nil).want(t, http.StatusOK).decode(t, &usage)
	n, err := strconv.Atoi(usage.UsedBytes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// collect has what may go removed, and examines what is left.
func (w *world) collect(t *testing.T) janitor.Summary {
	t.Helper()
	c := w.nodes[0].config
	if c.Embedded() {
		w.nodes[0].stop(t)
		defer w.restart(t)
	}
	if err := assemble.Collect(context.Background(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	sum, err := assemble.Check(context.Background(), c, true, func(int64) {}, func(f meta.Finding) { t.Errorf("fsck: %+v", f) })
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// restart starts the one node of a world again.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.client.CloseIdleConnections()
	n := startNode(t, w.nodes[0].config)
	*w = *newWorld(t, n.at("data_addr"), n)
}

// soon waits until every node has learned of a change.
func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	await.True(t, tenant.CacheTTL+5*time.Second, what, done)
}

// story is a life of two tenants, from their making to the end of one, the same
// whatever the deployment's shape.
func story(t *testing.T, w *world) {
	acme, rival := w.customer(t, "acme"), w.customer(t, "rival")
	app := acme.repository("writer", "team/app")

	first := app.push(t, app.image(t, nil), "latest", "v1")
	second := app.push(t, app.image(t, nil), "v2")
	both := app.push(t, index(t, nil, first, second), "all")
	signature := app.push(t, app.referring(t, first, typeSignature, map[string]string{"by": "ci"}))
	large := random(t, 20<<20)
	app.blobOf(t, typeLayer, large)

	// A reader may read only.
	reading := acme.repository("reader", app.name)
	for tag, m := range map[string]manifest{"latest": first, "v2": second, "all": both} {
		reading.wantManifest(t, tag, m)
	}
	reading.wantBlob(t, digest.FromBytes(large), large)
	reading.wantReferrers(t, reading.at("referrers/%s", first.Digest), signature)
	reading.postBlob(t, digest.FromString("x"), []byte("x")).want(t, http.StatusForbidden).wantCode(t, "DENIED")
	app.remove(t, app.at("manifests/v1")).want(t, http.StatusForbidden).wantCode(t, "DENIED")
	acme.repository("", app.name).get(t, app.at("manifests/latest")).want(t, http.StatusUnauthorized)
	var token struct{ Token string }
	reading.get(t, "/token?scope=repository:"+app.name+":pull").want(t, http.StatusOK).decode(t, &token)
	bearer := acme.repository("", app.name)
	bearer.client = &http.Client{Transport: bearing{w.client.Transport, token.Token}}
	bearer.wantManifest(t, "latest", first)
	bearer.wantTooNarrow(t)

	// Blobs move between the repositories of one tenant, without a copy.
	before := acme.used(t)
	copied := acme.repository("writer", "team/copy")
	for _, d := range append(blobsOf(t, first), digest.FromBytes(large)) {
		copied.mount(t, d, app.name).want(t, http.StatusCreated)
	}
	copied.push(t, first, "latest")
	dev := acme.in("dev."+acme.host(), "writer", "team/app")
	dev.mount(t, digest.FromBytes(large), app.name).want(t, http.StatusAccepted) // another registry
	dev.push(t, dev.image(t, nil), "latest")
	acme.in("dev."+acme.host(), "", "team/app").get(t, dev.at("manifests/latest")).want(t, http.StatusOK) // free to pull
	if used := acme.used(t); used-before > 2000 {
		t.Errorf("mounting is charged: %d bytes, then %d", before, used)
	}

	// Nothing of one tenant can be had, or found out, by the other.
	theirs := rival.repository("admin", app.name)
	theirs.push(t, theirs.image(t, nil), "latest")
	session := path(t, app.start(t, "").location(t))
	app.patch(t, session, 0, []byte("mine")).want(t, http.StatusAccepted)
	theirs.mount(t, digest.FromBytes(large), app.name).want(t, http.StatusAccepted)
	for _, target := range []string{
		app.at("blobs/%s", digest.FromBytes(large)), app.at("manifests/%s", first.Digest), app.at("manifests/v2"), session,
	} {
		theirs.get(t, target).want(t, http.StatusNotFound)
		theirs.remove(t, target).want(t, http.StatusNotFound)
	}
	stranger := rival.in(acme.host(), "admin", app.name)
	stranger.get(t, app.at("manifests/latest")).want(t, http.StatusUnauthorized)
	bearer.base = w.registry(rival.host())
	bearer.get(t, app.at("manifests/latest")).want(t, http.StatusUnauthorized)
	app.finish(t, session, digest.FromString("mine"), nil).want(t, http.StatusCreated)

	// A tag moves, another one goes, a manifest goes.
	app.push(t, second, "latest")
	app.wantManifest(t, "latest", second)
	app.wantManifest(t, "v1", first)
	keeper := acme.repository("admin", app.name)
	keeper.remove(t, keeper.at("manifests/v2")).want(t, http.StatusAccepted)
	app.wantNoManifest(t, "v2")
	keeper.remove(t, keeper.at("manifests/%s", both.Digest)).want(t, http.StatusAccepted)
	app.wantNoManifest(t, "all")
	keeper.remove(t, keeper.at("blobs/%s", layerOf(t, first))).want(t, http.StatusMethodNotAllowed) // v1 names it
	app.wantManifest(t, "v1", first)

	// The quota holds.
	w.admin(t, http.MethodPatch, acme.path("?update_mask=quota_bytes"), map[string]any{"quota_bytes": acme.used(t) + 1000}).want(t, http.StatusOK)
	more := random(t, 2000)
	app.postBlob(t, digest.FromBytes(more), more).want(t, http.StatusForbidden).wantCode(t, "DENIED")
	app.wantNoBlob(t, digest.FromBytes(more))
	w.admin(t, http.MethodPatch, acme.path("?update_mask=quota_bytes"), map[string]any{"quota_bytes": 1 << 30}).want(t, http.StatusOK)
	app.postBlob(t, digest.FromBytes(more), more).want(t, http.StatusCreated)

	// A tenant is suspended, and resumed.
	everywhere := func(what string, status int) {
		t.Helper()
		nobody := rival.repository("", app.name) // logins that fail would be counted
		soon(t, what, func() bool {
			for range 2 * len(w.nodes) { // each in its turn, one that does not know it yet too
				if nobody.get(t, nobody.at("manifests/latest")).status != status {
					return false
				}
			}
			return true
		})
	}
	w.admin(t, http.MethodPost, rival.path(":suspend"), nothing).want(t, http.StatusOK)
	everywhere("the tenant to be suspended", http.StatusForbidden)
	theirs.get(t, theirs.at("manifests/latest")).want(t, http.StatusForbidden)
	w.admin(t, http.MethodPost, rival.path(":resume"), nothing).want(t, http.StatusOK)
	everywhere("the tenant to be resumed", http.StatusUnauthorized)
	theirs.get(t, theirs.at("manifests/latest")).want(t, http.StatusOK)

	// What no one names goes; all else stays.
	collected := w.collect(t)
	app = acme.repository("writer", app.name)
	for _, d := range []digest.Digest{digest.FromBytes(more), digest.FromBytes(large), digest.FromString("mine")} {
		app.wantNoBlob(t, d)
	}
	for tag, m := range map[string]manifest{"latest": second, "v1": first} {
		app.wantManifest(t, tag, m)
		for _, d := range blobsOf(t, m) {
			app.get(t, app.at("blobs/%s", d)).want(t, http.StatusOK)
		}
	}
	app.wantReferrers(t, app.at("referrers/%s", first.Digest), signature)
	acme.repository("writer", "team/copy").wantManifest(t, "latest", first)

	// A tenant goes with all that it has; the other keeps what it has.
	used := acme.used(t)
	w.admin(t, http.MethodDelete, rival.path("?force=true"), nil).want(t, http.StatusOK)
	everywhere("the tenant to be gone", http.StatusNotFound)
	left := w.collect(t)
	if left.Stored >= collected.Stored || acme.used(t) != used {
		t.Errorf("%d objects are stored, %d before; %d bytes are charged, %d before", left.Stored, collected.Stored, acme.used(t), used)
	}
	w.admin(t, http.MethodGet, rival.path(""), nil).want(t, http.StatusNotFound)
	acme.repository("reader", app.name).wantManifest(t, "latest", second)

	// Every change has left its event, with who made it and by which request.
	var log struct {
		Events []struct {
			Actor, Verb string
			RequestID   string `json:"request_id"`
		}
	}
	w.admin(t, http.MethodGet, acme.path("/events?page_size=1000"), nil).want(t, http.StatusOK).decode(t, &log)
	for _, e := range log.Events {
		merged := e.Verb == "call.deny" || e.Verb == "login.fail" // of many requests
		if e.Actor == "" || e.Verb == "" || e.RequestID == "" && e.Actor != "janitor" && !merged {
			t.Errorf("an event says too little: %+v", e)
		}
	}
	if len(log.Events) < 20 {
		t.Errorf("%d events", len(log.Events))
	}
	w.stop(t)
	w.wantSound(t)
}

// wantTooNarrow fails the test unless the token is too narrow for a push.
func (r repository) wantTooNarrow(t *testing.T) {
	t.Helper()
	a := r.send(t, request{method: http.MethodPost, target: r.at("blobs/uploads/")}).want(t, http.StatusUnauthorized)
	want := `Bearer realm="` + r.base + `/token",service="acme.localhost",scope="repository:` + r.name + `:pull,push",error="insufficient_scope"`
	a.wantHeader(t, "Www-Authenticate", want)
}

// blobsOf are the blobs that an image names.
func blobsOf(t *testing.T, m manifest) []digest.Digest {
	t.Helper()
	var doc imagespec.Manifest
	answer{body: m.payload}.decode(t, &doc)
	all := []digest.Digest{doc.Config.Digest}
	for _, l := range doc.Layers {
		all = append(all, l.Digest)
	}
	return all
}
