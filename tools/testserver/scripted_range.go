package testserver

import (
	"fmt"
	"net/http"

	"github.com/berth-registry/berth/pkg/oci"
)

// The faults of requests for a range of a blob. Others are answered right, so a pull that
// is not cut succeeds; see Scripted.CutBlobs.
const (
	FaultRangeIgnored Fault = "200 to a range"
	FaultRange416     Fault = "416 to a range"
	FaultRange403     Fault = "403 to a range"
	FaultRange429     Fault = "429 to a range" // with Retry-After of a second
	FaultRange503     Fault = "503 to a range"
	FaultRangeStart   Fault = "206 from the first byte"
	FaultRangeTotal   Fault = "206 with another size"
	FaultRangeBare    Fault = "206 without Content-Range"
	FaultRangeGzip    Fault = "206 with Content-Encoding gzip"
	FaultRangeETag    Fault = "206 with another ETag"
)

var rangeFaults = func() map[Fault]faultKind {
	all := map[Fault]faultKind{}
	for f, play := range map[Fault]func(*scene){
		FaultRangeIgnored: (*scene).whole,
		FaultRange416:     plain(http.StatusRequestedRangeNotSatisfiable),
		FaultRange403:     plain(http.StatusForbidden),
		FaultRange429:     (*scene).soon,
		FaultRange503:     plain(http.StatusServiceUnavailable),
		FaultRangeStart:   (*scene).fromTheStart,
		FaultRangeTotal:   (*scene).otherTotal,
		FaultRangeBare:    partHeader("Content-Range", ""),
		FaultRangeGzip:    (*scene).zipped,
		FaultRangeETag:    partHeader("Etag", `"another"`),
	} {
		all[f] = faultKind{OutcomeFound, []Part{PartBlobs, PartCDN}, reachParts, play, nil}
	}
	return all
}()

// blob is the whole blob that a part was asked of.
func (sc *scene) blob() []byte {
	b, _ := sc.upstream.findAnywhere(oci.Digest(sc.asked.reference)) // its part was found
	return b.Bytes
}

func (sc *scene) whole() {
	sc.honest.Header().Del("Content-Range")
	sc.honest.Code = http.StatusOK
	sc.sendBody(sc.blob())
}

func (sc *scene) soon() {
	sc.w.Header().Set("Retry-After", "1")
	refuse(sc.w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
}

func (sc *scene) fromTheStart() {
	b := sc.blob()
	sc.w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(b)-1, len(b)))
	sc.sendBody(b)
}

func (sc *scene) otherTotal() {
	var start, end, size int64
	if _, err := fmt.Sscanf(sc.honest.Header().Get("Content-Range"), "bytes %d-%d/%d", &start, &end, &size); err != nil {
		panic(err) // net/http made it
	}
	sc.w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end, size+1))
	sc.send(sc.honest.Code, sc.honest.Body.Bytes())
}

// partHeader is the fault that has another value in the header of a part; "" for none.
func partHeader(key, value string) func(*scene) {
	return func(sc *scene) {
		sc.honest.Header().Del(key)
		if value != "" {
			sc.honest.Header().Set(key, value)
		}
		sc.send(sc.honest.Code, sc.honest.Body.Bytes())
	}
}

// CutBlobs has the connection break after so many bytes of a blob: so many times, 0 for
// always. None breaks where after is 0.
func (s *Scripted) CutBlobs(after int64, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutAfter, s.cuts = after, times
	if times == 0 {
		s.cuts = -1
	}
}

// line is the way to the client of a request for a part of the registry.
func (s *Scripted) line(w http.ResponseWriter, part Part) http.ResponseWriter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutAfter == 0 || part != PartBlobs && part != PartCDN {
		return w
	}
	return &cutWriter{w, s, s.cutAfter}
}

// cut says whether a connection breaks now.
func (s *Scripted) cut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts > 0 {
		s.cuts--
		return true
	}
	return s.cuts < 0
}

// cutWriter breaks the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	upstream *Scripted
	left     int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left || !c.upstream.cut() {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:max(c.left, 0)])
	_ = http.NewResponseController(c.ResponseWriter).Flush() // a client that is gone heard enough
	panic(http.ErrAbortHandler)
}

// Unwrap is for http.ResponseController.
func (c *cutWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
