package upload_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
)

// counting counts the bytes that a request body gave.
type counting struct {
	io.Reader
	n int
}

func (r *counting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += n
	return n, err
}

// A blob that the repository, the tenant or another tenant has is taken in like
// a new one: every byte is read, and the answer is the same.
func TestC3_KnownBlobsAreReadInFull(t *testing.T) {
	c := serve(t, nil)
	stranger := writerOf(t, c.Deployment, "globex")
	want := ocitest.Noise(3<<20, 1)
	d := sha256Of(want)
	var first http.Header
	for _, pusher := range []client{stranger, c, c, c.in("team/other").mayAlso(access.Scope{})} {
		body := &counting{Reader: bytes.NewReader(want)}
		a, err := pusher.stream(http.MethodPost, pusher.uploads("?digest="+d.String()), body)
		if err != nil {
			t.Fatal(err)
		}
		pusher.mustStored(a, d)
		if body.n != len(want) {
			t.Errorf("%d of %d bytes were read", body.n, len(want))
		}
		if first == nil {
			first = a.Header
		}
		if !slices.Equal(names(a.Header), names(first)) {
			t.Errorf("headers %v, at first they were %v", a.Header, first)
		}
		wrong := &counting{Reader: bytes.NewReader(ocitest.Noise(3<<20, 2))}
		if a, err = pusher.stream(http.MethodPost, pusher.uploads("?digest="+d.String()), wrong); err != nil {
			t.Fatal(err)
		}
		expect(t, a, http.StatusBadRequest, "DIGEST_INVALID")
	}
}

// A client does not get a blob by naming its digest.
func TestC4_DigestWithoutTheBytes(t *testing.T) {
	c := serve(t, nil)
	owner := writerOf(t, c.Deployment, "globex")
	secret := []byte("what only the owner has")
	d := owner.PutBlob(owner.repo(), secret).Digest
	some := secret[:10]
	wrong := bytes.ToUpper(secret)
	chunked := func(chunks ...[]byte) string {
		path, at := c.start(""), 0
		for _, p := range chunks {
			expect(t, c.patch(path, at, p), http.StatusAccepted, "")
			at += len(p)
		}
		return path
	}
	digest := "?digest=" + d.String()
	for name, a := range map[string]func() (int, string){
		"post without body":         func() (int, string) { return status(c.send("POST", c.uploads(digest), "")) },
		"post with wrong body":      func() (int, string) { return status(c.send("POST", c.uploads(digest), string(wrong))) },
		"post with a part":          func() (int, string) { return status(c.send("POST", c.uploads(digest), string(some))) },
		"post with too much":        func() (int, string) { return status(c.send("POST", c.uploads(digest), string(secret)+"!")) },
		"empty session":             func() (int, string) { return status(c.put(c.start(""), d, nil)) },
		"empty session, sha512":     func() (int, string) { return status(c.put(c.start("?digest-algorithm=sha512"), d, nil)) },
		"put with wrong body":       func() (int, string) { return status(c.put(c.start(""), d, wrong)) },
		"put with a part":           func() (int, string) { return status(c.put(c.start(""), d, some)) },
		"put with too much":         func() (int, string) { return status(c.put(c.start(""), d, append(slices.Clone(secret), 0))) },
		"chunks of a part":          func() (int, string) { return status(c.put(chunked(some), d, nil)) },
		"chunks in the wrong order": func() (int, string) { return status(c.put(chunked(secret[10:], some), d, nil)) },
		"last chunk wrong":          func() (int, string) { return status(c.put(chunked(some), d, wrong[10:])) },
		"without digest":            func() (int, string) { return status(c.send("PUT", c.start(""), string(secret))) },
		"two digests": func() (int, string) {
			return status(c.send("PUT", c.start("")+digest+"&digest="+sha256Of(secret).String(), ""))
		},
		"malformed digest": func() (int, string) { return status(c.send("PUT", c.start("")+"?digest=sha256:../..", "")) },
	} {
		if code, reason := a(); code != http.StatusBadRequest || reason != "DIGEST_INVALID" {
			t.Errorf("%s: %d %s, want 400 DIGEST_INVALID", name, code, reason)
		}
		c.mustLack(d)
	}
}

func status(a fronttest.Answer) (int, string) { return a.Status, a.Code() }

// A session whose digest did not match continues.
func TestC4_MismatchKeepsTheSession(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	expect(t, c.put(path, sha256Of([]byte("all")), []byte("half")), http.StatusBadRequest, "DIGEST_INVALID")
	c.mustOffset(path, 4)
	c.mustStored(c.put(path, sha256Of([]byte("half and half")), []byte(" and half")), sha256Of([]byte("half and half")))
}

func TestC5_SessionsOfOthers(t *testing.T) {
	c := serve(t, nil)
	stranger := writerOf(t, c.Deployment, "globex")
	path := c.start("")
	expect(t, c.patch(path, 0, []byte("mine ")), http.StatusAccepted, "")
	id := path[strings.LastIndex(path, "/")+1:]
	want := []byte("mine alone")

	reader := c
	reader.auth = c.Token(c.site, c.Account(c.site, "reader", access.Reader), access.Repository(c.name, access.Pull|access.Push))
	cancelled := c.start("")
	expect(t, c.send(http.MethodDelete, cancelled, ""), http.StatusNoContent, "")

	for _, who := range []struct {
		name   string
		client client
		path   string
		status int
		code   string
	}{
		{"other tenant", stranger, path, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		{"other repository", c.in("team/other").mayAlso(access.Scope{}), "/v2/team/other/blobs/uploads/" + id, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		{"without push", reader, path, http.StatusForbidden, "DENIED"},
		{"ended", c, cancelled, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		{"guessed", c, c.uploads(uuid.NewString()), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		{"malformed", c, c.uploads("00000000-0000-0000-0000-00000000000g"), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
			body, query := "", ""
			switch method {
			case http.MethodPatch:
				body = "theirs"
			case http.MethodPut:
				body, query = "theirs", "?digest="+sha256Of([]byte("mine theirs")).String()
			}
			a := who.client.send(method, who.path+query, body)
			if a.Status != who.status || (method != http.MethodHead && a.Code() != who.code) {
				t.Errorf("%s of %s: %d %s, want %d %s", method, who.name, a.Status, a.Code(), who.status, who.code)
			}
		}
	}
	c.mustOffset(path, 5)
	c.mustStored(c.put(path, sha256Of(want), []byte("alone")), sha256Of(want))
}

// The URL of a session holds its id and nothing else, so that an older one is
// as good as the last, and cannot turn the session back.
func TestC6_OldLocationCannotTurnBack(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	u, err := url.Parse(path)
	if err != nil || u.RawQuery != "" || u.Host != "" {
		t.Fatalf("Location %q has more than a path", path)
	}
	expect(t, c.patch(path, 0, []byte("first")), http.StatusAccepted, "")
	for _, forged := range []string{"", "?_state=AAAA", "?offset=0&state=%00"} {
		a := c.patch(path+forged, 0, []byte("again"))
		expect(t, a, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
		if got := a.Header.Get("Range"); got != "0-4" {
			t.Errorf("Range %q, want 0-4", got)
		}
	}
	c.mustStored(c.put(path, sha256Of([]byte("first")), nil), sha256Of([]byte("first")))
}

// damaged is a database that damages the hash states of sessions.
type damaged struct {
	upload.Meta
	dice *rand.Rand
}

func (d damaged) TakeUpload(ctx context.Context, r meta.Repo, id uuid.UUID, start int64) (meta.Upload, error) {
	return d.damage(d.Meta.TakeUpload(ctx, r, id, start))
}

func (d damaged) FindUpload(ctx context.Context, r meta.Repo, id uuid.UUID) (meta.Upload, error) {
	return d.damage(d.Meta.FindUpload(ctx, r, id))
}

func (d damaged) damage(u meta.Upload, err error) (meta.Upload, error) {
	s := slices.Clone(u.HashState)
	switch n := len(s); {
	case n == 0:
		s = ocitest.Noise(d.dice.IntN(200), d.dice.Uint64())
	case d.dice.IntN(4) == 0:
		s = s[:d.dice.IntN(n)]
	case d.dice.IntN(4) == 0:
		s = append(s, s[d.dice.IntN(n):]...)
	default:
		s[d.dice.IntN(n)] ^= byte(1 << d.dice.IntN(8))
	}
	u.HashState = s
	return u, err
}

func TestC6_DamagedHashState(t *testing.T) {
	random := rand.New(rand.NewPCG(dice.Seed(t), 6))
	c := serve(t, func(cfg *upload.Config) { cfg.Meta = damaged{cfg.Meta, random} })
	for range dice.Count(t, 100, 10_000) {
		want := ocitest.Noise(1+random.IntN(20_000), random.Uint64())
		path, cut := c.start(""), random.IntN(len(want))
		expect(t, c.patch(path, 0, want[:cut+1]), http.StatusAccepted, "")
		c.mustStored(c.put(path, sha256Of(want), want[cut+1:]), sha256Of(want))
		c.mustHold(want)
	}
}

// Bodies are of the bytes as they are: an encoded one is refused, and a
// compressed layer is not looked into.
func TestD5_NothingIsDecompressed(t *testing.T) {
	c := serve(t, nil)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, zeros{}, 16<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	d := sha256Of(bomb.Bytes())
	path := c.start("")
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "gzip, identity"} {
		for method, to := range map[string]string{
			http.MethodPatch: path,
			http.MethodPut:   path + "?digest=" + d.String(),
			http.MethodPost:  c.uploads("?digest=" + d.String()),
		} {
			if a := c.send(method, to, bomb.String(), "Content-Encoding", encoding); a.Status != http.StatusUnsupportedMediaType {
				t.Errorf("%s with %s: %d, want 415", method, encoding, a.Status)
			}
		}
	}
	a := c.send(http.MethodPut, path+"?digest="+d.String(), bomb.String(), "Content-Encoding", "identity")
	c.mustStored(a, d)
	c.mustHold(bomb.Bytes())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// No word of a client gets into a key: whatever is asked, the store holds only
// objects under keys of this store.
func TestD9_KeysAreOurs(t *testing.T) {
	c := serve(t, nil)
	random := rand.New(rand.NewPCG(dice.Seed(t), 9))
	bad := []string{"..", "%2e%2e", "%2F", "\\", "%00", "a/../../b", "o/1/aa", strings.Repeat("a/", 100) + "a", "ü", "A", "_", "-x", "sha256:aa"}
	stored := 0
	for range 200 {
		name := fmt.Sprintf("x%s/y%s", bad[random.IntN(len(bad))], bad[random.IntN(len(bad))])
		if random.IntN(4) == 0 {
			name = "a" + strings.Repeat("b", random.IntN(200))
		}
		who := c.in(name).mayAlso(access.Scope{})
		u := &url.URL{Path: who.uploads("")}
		q := url.Values{"digest": {sha256Of([]byte(name)).String()}, "from": {bad[random.IntN(len(bad))]}}
		switch a := who.send(http.MethodPost, u.EscapedPath()+"?"+q.Encode(), name); a.Status {
		case http.StatusCreated:
			stored++
		case http.StatusBadRequest, http.StatusNotFound:
		default:
			t.Errorf("%q: %d %s", name, a.Status, a.Body)
		}
	}
	err := c.Blobs.List(t.Context(), func(o blob.Stored) error {
		if o.Foreign != "" || o.Key.Tenant != int64(c.site.Tenant) {
			t.Errorf("the store holds %+v", o)
		}
		stored--
		return nil
	})
	if err != nil || stored != 0 {
		t.Errorf("list: %v, %d more blobs were stored than objects are there", err, stored)
	}
}
