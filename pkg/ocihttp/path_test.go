package ocihttp_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

const (
	digest    = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	digest512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
	session = "0b0e9e1a-7a54-4b8e-9c4e-0d6f3a1d2c3b"
)

func TestParsePath(t *testing.T) {
	id := uuid.MustParse(session)
	long := strings.Repeat("a", oci.MaxName)
	for path, want := range map[string]ocihttp.Route{
		"/v2":                                   {Kind: ocihttp.Base},
		"/v2/":                                  {Kind: ocihttp.Base},
		"/v2/_catalog":                          {Kind: ocihttp.Catalog},
		"/v2/a/tags/list":                       {Kind: ocihttp.Tags, Name: "a"},
		"/v2/a/manifests/latest":                {Kind: ocihttp.Manifest, Name: "a", Reference: oci.Reference{Tag: "latest"}},
		"/v2/a/manifests/" + digest:             {Kind: ocihttp.Manifest, Name: "a", Reference: oci.Reference{Digest: digest}},
		"/v2/a/b/c/manifests/list":              {Kind: ocihttp.Manifest, Name: "a/b/c", Reference: oci.Reference{Tag: "list"}},
		"/v2/a/blobs/" + digest512:              {Kind: ocihttp.Blob, Name: "a", Digest: digest512},
		"/v2/a/referrers/" + digest:             {Kind: ocihttp.Referrers, Name: "a", Digest: digest},
		"/v2/a/blobs/uploads/":                  {Kind: ocihttp.UploadStart, Name: "a"},
		"/v2/a/blobs/uploads":                   {Kind: ocihttp.UploadStart, Name: "a"},
		"/v2/a/blobs/uploads/" + session:        {Kind: ocihttp.Upload, Name: "a", Upload: id},
		"/v2/" + long + "/tags/list":            {Kind: ocihttp.Tags, Name: long},
		"/v2/proxy/docker.io/a/manifests/1":     {Kind: ocihttp.Manifest, Name: "proxy/docker.io/a", Reference: oci.Reference{Tag: "1"}},
		"/v2/a/blobs/uploads/manifests/x":       {Kind: ocihttp.Manifest, Name: "a/blobs/uploads", Reference: oci.Reference{Tag: "x"}},
		"/v2/a/blobs/uploads/tags/list":         {Kind: ocihttp.Tags, Name: "a/blobs/uploads"},
		"/v2/a/blobs/uploads/blobs/uploads/":    {Kind: ocihttp.UploadStart, Name: "a/blobs/uploads"},
		"/v2/blobs/uploads/blobs/" + digest:     {Kind: ocihttp.Blob, Name: "blobs/uploads", Digest: digest},
		"/v2/tags/list/tags/list":               {Kind: ocihttp.Tags, Name: "tags/list"},
		"/v2/tags/list/manifests/tags":          {Kind: ocihttp.Manifest, Name: "tags/list", Reference: oci.Reference{Tag: "tags"}},
		"/v2/manifests/manifests/manifests":     {Kind: ocihttp.Manifest, Name: "manifests", Reference: oci.Reference{Tag: "manifests"}},
		"/v2/uploads/manifests/uploads":         {Kind: ocihttp.Manifest, Name: "uploads", Reference: oci.Reference{Tag: "uploads"}},
		"/v2/blobs/blobs/uploads/" + session:    {Kind: ocihttp.Upload, Name: "blobs", Upload: id},
		"/v2/referrers/referrers/" + digest:     {Kind: ocihttp.Referrers, Name: "referrers", Digest: digest},
		"/v2/v2/manifests/v2":                   {Kind: ocihttp.Manifest, Name: "v2", Reference: oci.Reference{Tag: "v2"}},
		"/v2/a/manifests/" + escapeColon("%3A"): {Kind: ocihttp.Manifest, Name: "a", Reference: oci.Reference{Digest: digest}},
		"/v2/a/blobs/" + escapeColon("%3a"):     {Kind: ocihttp.Blob, Name: "a", Digest: digest},
		"/v2/a/referrers/" + escapeColon("%3A"): {Kind: ocihttp.Referrers, Name: "a", Digest: digest},
	} {
		got, err := ocihttp.ParsePath(path)
		if err != nil || got != want {
			t.Errorf("ParsePath(%q) = %+v, %v; want %+v", path, got, err, want)
		}
		roundTrip(t, got)
	}
}

func escapeColon(as string) string { return strings.Replace(digest, ":", as, 1) }

func roundTrip(t *testing.T, r ocihttp.Route) {
	t.Helper()
	if back, err := ocihttp.ParsePath(r.Path()); err != nil || back != r {
		t.Errorf("%+v has the path %q, which is %+v, %v", r, r.Path(), back, err)
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := ocihttp.Kind(0); k <= ocihttp.Referrers; k++ {
		seen[k.String()] = true
	}
	if len(seen) != int(ocihttp.Referrers)+1 {
		t.Errorf("two kinds share a name: %v", seen)
	}
	if path := (ocihttp.Route{}).Path(); path != "" {
		t.Errorf("the zero route has the path %q", path)
	}
}

// TestA9_HostilePaths: nothing outside the grammar becomes a route, and each
// refusal is a 400 or 404 with its own code.
func TestA9_HostilePaths(t *testing.T) {
	parts := []string{
		"..", ".", "...", "%2e%2e", "%2E%2E", "%2e", ".%2e", "%252e%252e", "..%2f..", "%2F%2F..", "%2f", "%5c", "..%5c..", `\`, `..\..`, "%00", "a%00", "a\x00",
		"%c0%ae%c0%ae", "%c0%af", "\xc0\xaf", "\xff", "%ff", "%EF%BC%8F", "\uff0f", "é", "%C3%A9", "a%0a", "a\n", "a%20b", "a b", "a;b", "a;..", "..;", "%3b", "a*b", "~", "%7e",
		"%61", "a%", "a%2", "a%zz", "%u002e", "&#46;", "a=b", "a&b", "a@b", "a+b", "a'b", "a\"b", "a<b", "$(id)", "`id`", "{{7}}", "a|b", "a,b", "(a)", "[a]", "file:", "%3A%3A",
	}
	tried := 0
	refuse := func(path string, status int, reason fault.Reason) {
		t.Helper()
		tried++
		r, err := ocihttp.ParsePath(path)
		var f *fault.Error
		if !errors.As(err, &f) || ocihttp.Status(f.Kind) != status || f.Reason != reason || r != (ocihttp.Route{}) {
			t.Errorf("ParsePath(%.120q) = %+v, %v; want %d %s", path, r, err, status, reason)
		}
	}
	for _, p := range append(parts, strings.Repeat("a", 256), "A", "a..b", "-a", "a_", "_catalog", "") {
		refuse("/v2/"+p+"/tags/list", 400, fault.NameInvalid)
		refuse("/v2/a/"+p+"/manifests/latest", 400, fault.NameInvalid)
		refuse("/v2/"+p+"/a/blobs/"+digest, 400, fault.NameInvalid)
		refuse("/v2/"+p+"/referrers/"+digest, 400, fault.NameInvalid)
		refuse("/v2/"+p+"/blobs/uploads/", 400, fault.NameInvalid)
		refuse("/v2/a/"+p+"/blobs/uploads/"+session, 400, fault.NameInvalid)
	}
	for _, p := range append(parts, strings.Repeat("a", 129), ".a", "-a", "") {
		if strings.Contains(p, ":") || strings.Contains(p, "%3A") {
			refuse("/v2/a/manifests/"+p, 400, fault.DigestInvalid)
		} else {
			refuse("/v2/a/manifests/"+p, 404, fault.TagInvalid)
		}
		refuse("/v2/a/blobs/"+p, 400, fault.DigestInvalid)
		refuse("/v2/a/referrers/"+p, 400, fault.DigestInvalid)
		refuse("/v2/a/manifests/sha256:"+p, 400, fault.DigestInvalid)
		refuse("/v2/a/manifests/"+digest+p+"x", 400, fault.DigestInvalid)
	}
	for _, id := range append(parts, "0", session+"0", session[1:], "{"+session+"}", "urn:uuid:"+session, strings.ReplaceAll(session, "-", ""), "%30"+session[1:],
		session[:35]+"g", strings.ReplaceAll(session, "-", "_"), strings.Repeat("a", 1<<16)) {
		refuse("/v2/a/blobs/uploads/"+id, 404, fault.BlobUploadUnknown)
	}
	for _, path := range []string{
		"", "/", "//", "*", "v2", "/v", "/v1/", "/v2x", "/V2/", "//v2/", "/./v2/", "/%762/", "/v2//", "/v2/%2e%2e/", "/v2/..", "/v2/../", "/v2/../../etc/passwd", "/v2/a",
		"/v2/a/", "/v2/a/b", "/v2/_catalog/", "/v2/%5fcatalog", "/v2/_catalog%00", "/v2/a/tags", "/v2/a/tags/", "/v2/a/tags/list/", "/v2/a/tags/List", "/v2/a/tags/list%00",
		"/v2/a/manifests", "/v2/a/manifests/latest/", "/v2/a/manifests/../x", "/v2/a/manifests/..%2fx/y", "/v2/a/Manifests/latest",
		"/v2/a/blobs", "/v2/a/%62lobs/" + digest, "/v2/a/uploads/" + session,
		"/v2/a/blobs/uploads/" + session + "/", "/v2/a/blobs/uploads//", "/v2/a/blobs/uploads/" + session + "/../x", "/v2/a%2fmanifests%2flatest",
		"/v2/a/blobs//uploads/", "/v2/a/blobs%2fuploads/", "/v2/a/blobs/uploads/../" + digest, "/v2/a/referrers", "/token", "/v2" + strings.Repeat("/..", 1000),
	} {
		refuse(path, 404, fault.ResourceUnknown)
	}
	for _, path := range []string{
		"/v2/a/manifests/" + digest + "/..", "/v2/a/blobs/" + digest + "/", "/v2/a/blobs/" + digest + "/../../x",
		"/v2/a/referrers/" + digest + "/", "/v2/a/blobs/sha256:../../../etc/passwd", "/v2/a/blobs/uploads/" + digest + "/x",
	} {
		refuse(path, 400, fault.DigestInvalid)
	}
	for _, path := range []string{"/v2/manifests/latest", "/v2/tags/list", "/v2/blobs/uploads/", "/v2/blobs/" + digest, "/v2/a//tags/list", "/v2//a/tags/list"} {
		refuse(path, 400, fault.NameInvalid)
	}
	if tried < 400 {
		t.Errorf("the row asks for 400 paths, not %d", tried)
	}
}

// TestA10_DigestRoutes: on every route that takes a digest in its path.
func TestA10_DigestRoutes(t *testing.T) {
	sum := digest[len("sha256:"):]
	for _, d := range []string{
		"sha256:", "sha256:../..", "sha256:" + strings.ToUpper(sum), "SHA256:" + sum, "sha256:" + sum[1:], "sha256:" + sum + "0", "md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha512:" + sum, "sha384:" + sum, "sha256+b64:" + sum, "sha256%3A" + sum + "%3A", "sha256%3A%3A" + sum[1:], "sha256%253A" + sum,
		":" + sum, "sha256::" + sum, "sha256:%65" + sum[1:], "%73ha256:" + sum, "sha256:" + sum + "%00", "sha256:" + strings.Repeat("g", 64),
	} {
		for _, route := range []string{"/v2/a/manifests/", "/v2/a/blobs/", "/v2/a/referrers/"} {
			if d == "sha256%253A"+sum && route == "/v2/a/manifests/" {
				continue // no colon: not a digest but a malformed tag
			}
			if _, err := ocihttp.ParsePath(route + d); !fault.Is(err, fault.DigestInvalid) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("ParsePath(%q) = %v; want DIGEST_INVALID", route+d, err)
			}
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, path := range []string{
		"", "/v2", "/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/b/manifests/latest", "/v2/a/manifests/" + digest, "/v2/a/manifests/" + escapeColon("%3A"),
		"/v2/a/blobs/" + digest512, "/v2/a/blobs/uploads", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/" + session, "/v2/a/referrers/" + digest,
		"/v2/a/blobs/uploads/manifests/x", "/v2/../..", "/v2/%2e%2e/tags/list", "/v2/a//manifests/x", "/v2/a/manifests/%3A%3a",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := ocihttp.ParsePath(path)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound {
				t.Fatalf("ParsePath(%q) = %v", path, err)
			}
			return
		}
		if r.Kind != ocihttp.Base && r.Kind != ocihttp.Catalog {
			if err := oci.CheckName(r.Name); err != nil {
				t.Fatalf("ParsePath(%q) = %+v: %v", path, r, err)
			}
		}
		roundTrip(t, r)
		// A route is what was asked for, except for a last slash and the case of an upload id.
		plain, err := url.PathUnescape(path)
		if err != nil || !strings.EqualFold(strings.TrimSuffix(r.Path(), "/"), strings.TrimSuffix(plain, "/")) {
			t.Fatalf("ParsePath(%q) = %+v, unescaped %q, %v", path, r, plain, err)
		}
	})
}

func BenchmarkParsePath(b *testing.B) {
	for name, path := range map[string]string{
		"manifest": "/v2/library/alpine/manifests/latest",
		"blob":     "/v2/library/alpine/blobs/" + digest,
		"upload":   "/v2/library/alpine/blobs/uploads/" + session,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ocihttp.ParsePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleParsePath() {
	r, err := ocihttp.ParsePath("/v2/library/alpine/manifests/3.20")
	fmt.Println(r.Kind, r.Name, r.Reference, err)

	_, err = ocihttp.ParsePath("/v2/library%2Falpine/manifests/3.20")
	fmt.Println(fault.Is(err, fault.NameInvalid))
	// Output:
	// manifest library/alpine 3.20 <nil>
	// true
}
