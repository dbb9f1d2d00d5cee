package upload_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// mount asks for a blob; from may be empty.
func (c client) mount(d oci.Digest, from string) fronttest.Answer {
	c.t.Helper()
	q := url.Values{"mount": {d.String()}}
	if from != "" {
		q.Set("from", from)
	}
	return c.send(http.MethodPost, c.uploads("?"+q.Encode()), "")
}

// mayAlso adds a scope to the client's token.
func (c client) mayAlso(s access.Scope) client {
	p := access.ServiceAccount(c.site.Tenant, 0, "writer", access.Writer)
	c.auth = c.Token(c.site, p, access.Repository(c.name, access.Pull|access.Push), s)
	return c
}

func TestMount(t *testing.T) {
	c := serve(t, nil)
	want := []byte("shared")
	source := c.repo()
	source.Name = "library/base"
	c.PutBlob(source, want)
	c = c.mayAlso(access.Repository(source.Name, access.Pull))
	c.mustStored(c.mount(sha256Of(want), source.Name), sha256Of(want))
	c.mustHold(want)

	elsewhere := c.in("team/other").mayAlso(access.Repository(source.Name, access.Pull))
	elsewhere.mustStored(elsewhere.mount(sha256Of(want), ""), sha256Of(want))
	elsewhere.mustHold(want)
}

// A mount that is refused looks like one of a blob that does not exist: an
// upload is started, whatever the reason.
func TestC2_RefusedMountStartsAnUpload(t *testing.T) {
	c := serve(t, nil)
	private := c.repo()
	private.Name = "secret/base"
	blob := c.PutBlob(private, []byte("without pull on the source"))
	stranger := writerOf(t, c.Deployment, "globex")
	foreign := c.PutBlob(stranger.repo(), []byte("of another tenant"))
	sibling := c.Registry(c.site, "dev", tenant.Settings{AnonymousPull: true})
	beside := c.PutBlob(fronttest.Repo(sibling, c.name), []byte("of another registry"))
	missing := sha256Of([]byte("not stored"))

	var first fronttest.Answer
	for i, m := range []struct {
		name   string
		digest oci.Digest
		from   string
	}{
		{"missing digest", missing, c.name},
		{"missing repository", missing, "no/such"},
		{"malformed repository", missing, "../../No"},
		{"nowhere", missing, ""},
		{"no right on the source", blob.Digest, private.Name},
		{"no right on any source", blob.Digest, ""},
		{"other tenant", foreign.Digest, stranger.name},
		{"other tenant, anywhere", foreign.Digest, ""},
		{"other registry", beside.Digest, c.name},
		{"other registry, anywhere", beside.Digest, ""},
	} {
		a := c.mount(m.digest, m.from)
		if a.Status != http.StatusAccepted || a.Header.Get("Range") != "0-0" || a.Body != "" {
			t.Errorf("%s: %d %v %q, want 202 and an empty upload", m.name, a.Status, a.Header, a.Body)
		}
		if i == 0 {
			first = a
		}
		if got, want := names(a.Header), names(first.Header); !slices.Equal(got, want) {
			t.Errorf("%s: headers %v, others have %v", m.name, got, want)
		}
		c.mustLack(m.digest)
	}
	for _, bad := range []string{"sha256:..", "md5:d41d8cd98f00b204e9800998ecf8427e", ""} {
		a := c.send(http.MethodPost, c.uploads("?from=library/base&mount="+url.QueryEscape(bad)), "")
		expect(t, a, http.StatusBadRequest, "DIGEST_INVALID")
	}
}

func names(h http.Header) []string { return slices.Sorted(maps.Keys(h)) }

// The upload that a refused mount starts is one for the digest it asked for.
func TestMountFallsBackToUpload(t *testing.T) {
	c := serve(t, nil)
	want := []byte("pushed after all")
	d := oci.DigestOf(oci.SHA512, want)
	a := c.mount(d, "library/base")
	expect(t, a, http.StatusAccepted, "")
	c.mustStored(c.put(a.Header.Get("Location"), d, want), d)
	c.mustHoldAs(d, want)
}
