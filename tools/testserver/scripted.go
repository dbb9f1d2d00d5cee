package testserver

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// What a Scripted holds at first: its Image, the index under ScriptedTag and the
// manifest under ScriptedSingleTag.
const (
	ScriptedName      = "library/app"
	ScriptedTag       = "1"
	ScriptedSingleTag = "single"
)

// Scripted is a registry to pull from that answers properly until it is told
// otherwise. Each request comes by a connection of its own. It is safe for
// concurrent use, except Play and Script, and goes with the test.
type Scripted struct {
	*Door
	CDN   *Door // has all blobs at /<digest>; see RedirectBlobs
	Image ocitest.Image

	other ocitest.Image // what is given instead of Image by some faults
	dead  string        // an address on which nothing listens

	mu       sync.Mutex
	script   Script
	left     int // how often script is still played; -1 = always
	repos    map[string]*scriptedRepo
	redirect string // a URL to which a blob's digest is added; "" = blobs are sent
	files    bool   // see ServeFiles
	leadsTo  string // see LeadTo
	cutAfter int64  // see CutBlobs
	cuts     int    // how often they still break; -1 = always
	tagPages TagPages
	auth     scriptedAuth
	budget   budget
}

type scriptedRepo struct {
	manifests, blobs map[oci.Digest]ocitest.Content
	tags             map[string]oci.Digest
	claimed          map[oci.Digest]int // sizes of what it says that it has, and has not
}

// Script is what a Scripted does other than right.
type Script struct {
	Fault Fault
	On    []Part // what is asked for by the requests that it concerns; empty = those that Fault.On says
	At    int64  // how many bytes of the body come right, where Fault says that some do; 0 = half of them
	Times int    // for how many requests, or connections where Fault is of these; 0 = until the next script
}

// StartScripted starts a registry of one test's own.
func StartScripted(t testing.TB) *Scripted {
	t.Helper()
	s := &Scripted{
		Image: ocitest.NewImage(1, 1000, 200_000), other: ocitest.NewImage(2, 1000),
		dead: FreeAddr(t), left: -1, script: Script{Fault: FaultNone}, repos: map[string]*scriptedRepo{},
	}
	s.Push(ScriptedName, s.Image, ScriptedTag)
	s.PushManifest(ScriptedName, s.Image.Manifest, ScriptedSingleTag)
	s.CDN = openDoor(t, http.HandlerFunc(s.serveCDN), nil)
	s.Door = openDoor(t, http.HandlerFunc(s.serve), s.admit)
	return s
}

// Push adds an image to a repository, its index under each tag; a tag that was
// there moves.
func (s *Scripted) Push(name string, img ocitest.Image, tags ...string) {
	for _, b := range img.Blobs() {
		s.PushBlob(name, b)
	}
	s.PushManifest(name, img.Manifest)
	s.PushManifest(name, img.Index, tags...)
}

// PushManifest adds a manifest to a repository, under each tag.
func (s *Scripted) PushManifest(name string, m ocitest.Content, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(name)
	repo.manifests[m.Digest] = m
	for _, tag := range tags {
		repo.tags[tag] = m.Digest
	}
}

// PushBlob adds a blob to a repository.
func (s *Scripted) PushBlob(name string, b ocitest.Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(name).blobs[b.Digest] = b
}

// ClaimBlob has a repository answer HEAD of a blob as if it had it. GET is 404.
func (s *Scripted) ClaimBlob(name string, d oci.Digest, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(name).claimed[d] = size
}

// Delete removes a repository.
func (s *Scripted) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repos, name)
}

// repo finds or makes a repository. The caller holds mu.
func (s *Scripted) repo(name string) *scriptedRepo {
	r := s.repos[name]
	if r == nil {
		r = &scriptedRepo{manifests: map[oci.Digest]ocitest.Content{}, blobs: map[oci.Digest]ocitest.Content{}, tags: map[string]oci.Digest{}, claimed: map[oci.Digest]int{}}
		s.repos[name] = r
	}
	return r
}

// RedirectBlobs answers GET of a blob with a redirect to base, a slash and the
// digest: CDN.URL() for one that works, "" for none.
func (s *Scripted) RedirectBlobs(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redirect = base
}

// ServeFiles answers from now on as a web server of files does: what is there is
// there, there is no /v2/, and a 404 says nothing but that.
func (s *Scripted) ServeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = true
}

// LeadTo redirects from now on everything below /v2/ to another registry at base, as hosts
// do that only lend their name.
func (s *Scripted) LeadTo(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leadsTo = base
}

func (s *Scripted) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leadsTo
}

func (s *Scripted) servesFiles() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files
}

// Script plays the fault, until the next one, to requests for the parts; where
// none is named, to those that it concerns. FaultNone is to be right again.
func (s *Scripted) Script(f Fault, on ...Part) { s.Play(Script{Fault: f, On: on}) }

// Play changes how requests are answered that come from now on. Those in flight
// continue as they are, except for FaultRefused, which cuts them. A fault of the token
// endpoint makes the registry ask for tokens from now on, as RequireToken does.
func (s *Scripted) Play(script Script) {
	switch kind := faults[script.Fault]; {
	case kind.connection != nil:
		script.On = []Part{partConnection}
	case len(script.On) == 0:
		script.On = kind.on
	}
	s.mu.Lock()
	s.script, s.left = script, script.Times
	if script.Times == 0 {
		s.left = -1
	}
	if slices.Contains(script.On, PartToken) {
		s.auth.required = true
	}
	s.mu.Unlock()
	if script.Fault == FaultRefused {
		s.Stop()
	} else {
		s.Start()
	}
}

// take says whether the script is played now, which concerns a part.
func (s *Scripted) take(part Part) (Script, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 || !slices.Contains(s.script.On, part) {
		return Script{}, false
	}
	if s.left > 0 {
		s.left--
	}
	return s.script, true
}

// admit plays the faults of connections.
func (s *Scripted) admit(conn net.Conn) bool {
	script, now := s.take(partConnection)
	if now {
		faults[script.Fault].connection(conn)
	}
	return !now
}

func (s *Scripted) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // no connection outlives a script
	s.perform(w, r, parseAsked(r), s.answer)
}

// serveCDN gives blobs to anyone who knows their digest.
func (s *Scripted) serveCDN(w http.ResponseWriter, r *http.Request) {
	s.perform(w, r, asked{part: PartCDN, reference: strings.TrimPrefix(r.URL.Path, "/")}, s.answerCDN)
}

// perform answers a request by answer, unless the script is played.
func (s *Scripted) perform(w http.ResponseWriter, r *http.Request, a asked, answer func(http.ResponseWriter, *http.Request, asked)) {
	w = s.line(w, a.part)
	reach := s.reach(a.part)
	if reach == reachNone {
		answer(w, r, a)
		return
	}
	sc := scene{w: w, r: r, asked: a, honest: httptest.NewRecorder(), upstream: s}
	answer(sc.honest, r, a)
	if sc.isIn(reach) {
		if script, now := s.take(a.part); now {
			sc.at = script.At
			faults[script.Fault].play(&sc)
			return
		}
	}
	sc.send(sc.honest.Code, sc.honest.Body.Bytes())
}

// reach is what answers the current script changes; reachNone where it does not
// concern the part.
func (s *Scripted) reach(part Part) reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.script.On, part) {
		return reachNone
	}
	return faults[s.script.Fault].reach
}
