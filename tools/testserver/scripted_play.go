package testserver

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scene is one request that is answered by a fault.
type scene struct {
	w        http.ResponseWriter
	r        *http.Request
	asked    asked
	honest   *httptest.ResponseRecorder // the right answer
	upstream *Scripted
	at       int64 // see Script.At
}

// isIn says whether a fault of this reach takes the place of the right answer.
func (sc *scene) isIn(r reach) bool {
	right := sc.honest.Code/100 == 2
	switch r {
	case reachAll:
		return true
	case reachRight:
		return right
	case reachParts:
		return sc.honest.Code == http.StatusPartialContent
	case reachHeads:
		return sc.r.Method == http.MethodHead
	default:
		return right && sc.r.Method == http.MethodGet
	}
}

// send answers with the right header, as far as there is no other value yet.
func (sc *scene) send(code int, b []byte) {
	h := sc.w.Header()
	for key, values := range sc.honest.Header() {
		if _, set := h[key]; !set {
			h[key] = values
		}
	}
	sc.w.WriteHeader(code)
	_, _ = sc.w.Write(b) // a client that is gone heard enough
}

// sendBody answers with another body.
func (sc *scene) sendBody(b []byte) {
	sc.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	sc.send(sc.honest.Code, b)
}

// body is the fault that changes the body.
func body(change func([]byte) []byte) func(*scene) {
	return func(sc *scene) { sc.sendBody(change(sc.honest.Body.Bytes())) }
}

// status is the fault that answers with a status.
func status(code int) func(*scene) {
	return func(sc *scene) { refuse(sc.w, code, "UNKNOWN") }
}

// later is status, with Retry-After.
func later(code int) func(*scene) {
	return func(sc *scene) {
		sc.w.Header().Set("Retry-After", strconv.Itoa(int(ScriptedRetryAfter.Seconds())))
		refuse(sc.w, code, "TOOMANYREQUESTS")
	}
}

func (sc *scene) unauthorized() {
	sc.upstream.mu.Lock()
	sc.w.Header().Set("WWW-Authenticate", sc.upstream.challenge(sc.asked))
	sc.upstream.mu.Unlock()
	refuse(sc.w, http.StatusUnauthorized, "UNAUTHORIZED")
}

func (sc *scene) brokenChallenge() {
	sc.w.Header().Set("WWW-Authenticate", `Bearer realm="://,service=,scope`)
	refuse(sc.w, http.StatusUnauthorized, "UNAUTHORIZED")
}

func (sc *scene) page() { sc.pageOf(http.StatusOK) }

func (sc *scene) pageOf(code int) {
	sc.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	sc.w.WriteHeader(code)
	_, _ = fmt.Fprint(sc.w, "<!DOCTYPE html><title>Sign in to this network</title>")
}

func (sc *scene) page404() { sc.pageOf(http.StatusNotFound) }

func (sc *scene) page404Version() {
	setVersion(sc.w)
	sc.page404()
}

// plain is the fault that answers with a status and a line of text, as no registry does.
func plain(code int) func(*scene) {
	return func(sc *scene) { http.Error(sc.w, http.StatusText(code), code) }
}

// notFound is how the registry itself says it.
func (sc *scene) notFound() {
	setVersion(sc.w)
	refuse(sc.w, http.StatusNotFound, unknownCode[sc.asked.part])
}

// other is content of the same kind that is another's.
func (sc *scene) other() []byte {
	if sc.asked.part == PartManifests {
		return sc.upstream.other.Manifest.Bytes
	}
	return sc.upstream.other.Layers[0].Bytes
}

func (sc *scene) otherContent() { sc.sendBody(sc.other()) }

func (sc *scene) wrongType() {
	sc.w.Header().Set("Content-Type", imagespec.MediaTypeImageConfig)
	sc.send(sc.honest.Code, sc.honest.Body.Bytes())
}

// lie gives the right bytes and the digest of others; to those who believe it
// and ask for that digest too.
func (sc *scene) lie() {
	lied := sc.upstream.other.Manifest.Digest.String()
	switch {
	case sc.asked.reference == lied:
		serveContent(sc.w, sc.r, given(imagespec.MediaTypeImageIndex, sc.upstream.other.Manifest.Digest, sc.upstream.Image.Index.Bytes))
	case sc.honest.Code == http.StatusOK:
		sc.w.Header().Set("Docker-Content-Digest", lied)
		fallthrough
	default:
		sc.send(sc.honest.Code, sc.honest.Body.Bytes())
	}
}

func (sc *scene) millionTags() {
	tags := make([]string, 1_000_000)
	for i := range tags {
		tags[i] = fmt.Sprintf("tag-%07d", i)
	}
	sc.sendBody(encode(map[string]any{"name": sc.asked.name, "tags": tags}))
}

func (sc *scene) hugeToken() {
	token := make([]byte, 1<<20)
	for i := range token {
		token[i] = 'a'
	}
	sc.sendBody(encode(map[string]any{"token": string(token), "expires_in": 300}))
}

func (sc *scene) loop() {
	hop, _ := strconv.Atoi(sc.r.FormValue("hop")) // 0 on the first
	redirect(sc.w, sc.r.URL.Path+"?hop="+strconv.Itoa(hop+1))
}

func (sc *scene) toDead() { redirect(sc.w, "http://"+sc.upstream.dead+sc.r.URL.Path) }

func (sc *scene) toNothing() { redirect(sc.w, sc.upstream.CDN.URL()+"/nothing") }

func (sc *scene) gzipLabel() {
	sc.w.Header().Set("Content-Encoding", "gzip")
	sc.sendBody(sc.honest.Body.Bytes())
}

func (sc *scene) octetStream() {
	sc.w.Header().Set("Content-Type", "binary/octet-stream")
	sc.send(sc.honest.Code, sc.honest.Body.Bytes())
}

func expiresText(b []byte) []byte { return expiresIn.ReplaceAll(b, []byte(`"expires_in":"$1"`)) }

var expiresIn = regexp.MustCompile(`"expires_in":(\d+)`)

// link is the fault that changes how the next page is named.
func link(change func(string) string) func(*scene) {
	return func(sc *scene) {
		if right := sc.honest.Header().Get("Link"); right != "" {
			sc.w.Header().Set("Link", change(right))
		}
		sc.send(sc.honest.Code, sc.honest.Body.Bytes())
	}
}

func bare(l string) string { return strings.NewReplacer("<", "", ">", "").Replace(l) }

func elsewhere(l string) string {
	return strings.Replace(l, "<", "<https://registry.internal.example:5000", 1)
}

func garbage(l string) string { return strings.TrimSuffix(l, `"`) }
