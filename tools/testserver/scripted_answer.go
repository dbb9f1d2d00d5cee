package testserver

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// Part is what a request asks for.
type Part string

// The parts of a registry.
const (
	PartPing      Part = "ping" // /v2/, and paths that are nothing else
	PartManifests Part = "manifests"
	PartBlobs     Part = "blobs"
	PartTags      Part = "tags"
	PartReferrers Part = "referrers"
	PartToken     Part = "token" // the token endpoint
	PartCDN       Part = "CDN"   // blobs at Scripted.CDN; what outcome a fault has is said of the registry's own

	partConnection Part = "connection" // before there is a request
)

// asked is what a path asks for.
type asked struct {
	part            Part
	name, reference string
}

var askedPath = regexp.MustCompile(`^/v2/(.+)/(?:(manifests|blobs|referrers)/([^/]+)|(tags)/list)$`)

func parseAsked(r *http.Request) asked {
	if r.URL.Path == "/token" {
		return asked{part: PartToken}
	}
	m := askedPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return asked{part: PartPing}
	}
	return asked{part: Part(m[2] + m[4]), name: m[1], reference: m[3]}
}

// answer answers properly.
func (s *Scripted) answer(w http.ResponseWriter, r *http.Request, a asked) {
	files := s.servesFiles()
	if !files {
		setVersion(w)
	}
	switch {
	case a.part != PartToken && s.target() != "":
		redirect(w, s.target()+r.URL.RequestURI())
		return
	case s.exchange(w, r):
		return
	case files && a.part == PartPing:
		http.NotFound(w, r)
		return
	case a.part == PartToken:
		s.answerToken(w, r)
		return
	case !s.authorize(w, r, a):
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
		return
	case a.part == PartManifests && !s.charge(w, r):
		return
	}
	found := s.find(r, a)
	if found == nil && files {
		http.NotFound(w, r)
		return
	}
	if found == nil {
		found = refusal(http.StatusNotFound, unknownCode[a.part])
	}
	found(w)
}

func setVersion(w http.ResponseWriter) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
}

// unknownCode is the error code of a 404 (distribution-spec, "Error Codes").
var unknownCode = map[Part]string{
	PartPing: "NAME_UNKNOWN", PartManifests: "MANIFEST_UNKNOWN", PartBlobs: "BLOB_UNKNOWN", PartTags: "NAME_UNKNOWN", PartReferrers: "NAME_UNKNOWN",
}

// reply is an answer that is ready to be sent, without a lock: the client may be
// slow.
type reply func(http.ResponseWriter)

// find is nil for what is not there.
func (s *Scripted) find(r *http.Request, a asked) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, found := s.repos[a.name]
	switch {
	case r.URL.Path == "/v2/":
		return give(r, given("application/json", "", []byte("{}")))
	case !found:
		return nil
	case a.part == PartManifests:
		return repo.findManifest(r, a.reference)
	case a.part == PartBlobs:
		return s.findBlob(r, repo, oci.Digest(a.reference))
	case a.part == PartTags:
		return s.listTags(r, repo, a.name)
	default:
		return repo.listReferrers(r, oci.Digest(a.reference))
	}
}

func give(r *http.Request, c ocitest.Content) reply {
	return func(w http.ResponseWriter) { serveContent(w, r, c) }
}

func refusal(status int, code string) reply {
	return func(w http.ResponseWriter) { refuse(w, status, code) }
}

// refuse writes an error in the form of the spec.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": "as scripted"}}}))
}

// serveContent serves all of it, or the ranges that r asks for.
func serveContent(w http.ResponseWriter, r *http.Request, c ocitest.Content) {
	w.Header().Set("Content-Type", c.MediaType)
	if c.Digest != "" {
		w.Header().Set("Docker-Content-Digest", c.Digest.String())
		w.Header().Set("Etag", `"`+c.Digest.String()+`"`)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.Bytes))
}

func (repo *scriptedRepo) findManifest(r *http.Request, reference string) reply {
	d, tagged := repo.tags[reference]
	if !tagged {
		d = oci.Digest(reference)
	}
	m, found := repo.manifests[d]
	if !found {
		return nil
	}
	return give(r, m)
}

func (s *Scripted) findBlob(r *http.Request, repo *scriptedRepo, d oci.Digest) reply {
	b, found := repo.blobs[d]
	size, claimed := repo.claimed[d]
	switch {
	case !found && claimed && r.Method == http.MethodHead:
		return func(w http.ResponseWriter) { w.Header().Set("Content-Length", strconv.Itoa(size)) }
	case !found:
		return nil
	case s.redirect != "" && r.Method == http.MethodGet:
		to := s.redirect + "/" + d.String()
		return func(w http.ResponseWriter) { redirect(w, to) }
	default:
		return give(r, given("application/octet-stream", d, b.Bytes))
	}
}

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (repo *scriptedRepo) listReferrers(r *http.Request, subject oci.Digest) reply {
	var found []ocitest.Content
	for _, d := range slices.Sorted(maps.Keys(repo.manifests)) {
		m := repo.manifests[d]
		parsed, err := oci.ParseManifest(m.MediaType, m.Bytes)
		if err == nil && parsed.Subject != nil && parsed.Subject.Digest == subject {
			m.ArtifactType, m.Annotations = parsed.ReferrerType(), parsed.Annotations
			found = append(found, m)
		}
	}
	return give(r, given(imagespec.MediaTypeImageIndex, "", ocitest.Index(found...).Bytes))
}

func (s *Scripted) answerCDN(w http.ResponseWriter, r *http.Request, a asked) {
	b, found := s.findAnywhere(oci.Digest(a.reference))
	if !found {
		http.Error(w, "nothing here", http.StatusNotFound)
		return
	}
	w.Header().Set("Etag", `"cdn"`)
	serveContent(w, r, given("application/octet-stream", "", b.Bytes))
}

// findAnywhere finds a blob of any repository.
func (s *Scripted) findAnywhere(d oci.Digest) (ocitest.Content, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for repo := range maps.Values(s.repos) {
		if b, found := repo.blobs[d]; found {
			return b, true
		}
	}
	return ocitest.Content{}, false
}

// given is content as a server gives it: with a digest or none, right or wrong.
func given(mediaType string, d oci.Digest, b []byte) ocitest.Content {
	return ocitest.Content{Descriptor: oci.Descriptor{MediaType: mediaType, Digest: d}, Bytes: b}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of what servers here say
	}
	return b
}
