package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/signedcall"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// FlightsPath is the path, on internal listeners, where processes read blobs that
// another process is fetching.
const FlightsPath = "/flights/"

// flightService is the service name in signed calls for flights.
const flightService = "flights"

// flightPath is the path of a target. Only processes of the deployment can sign it.
func flightPath(t fetch.Target) string {
	return FlightsPath + strconv.FormatInt(int64(t.Repo.Tenant), 10) + "/" + strconv.FormatInt(int64(t.Repo.Registry), 10) +
		"/" + t.Digest.String() + "?hops=" + strconv.Itoa(t.Hops) + "&name=" + url.QueryEscape(t.Repo.Name)
}

// Flights serves the blobs that this process is fetching to other processes.
type Flights struct {
	Fetches *fetch.Fetches
	Calls   *access.Internal
	Log     *slog.Logger

	// Self is the URL of this process for others; calls signed for another URL are
	// refused. Empty if not known.
	Self string
}

// ServeHTTP answers 404 for a blob that is not being fetched here; then the caller
// checks the store.
func (f Flights) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, content, err := f.join(r)
	if err != nil {
		ocihttp.WriteError(w, r, err)
		return
	}
	defer content.Close()
	web.AllowPause(r.Context(), int64(t.Repo.Tenant))
	size := content.Size()
	from, status := firstByte(r.Header.Get("Range"), size), http.StatusOK
	if from > 0 {
		if _, err := content.Seek(from, io.SeekStart); err != nil {
			ocihttp.WriteError(w, r, fault.Down(err, "the content of this blob"))
			return
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(size-from, 10))
	w.WriteHeader(status)
	// The other process may have more than this one by now; it knows from the header that the
	// rest will come. A process that is gone is noticed by the copy.
	_ = http.NewResponseController(w).Flush()
	if _, err := io.Copy(w, content); err != nil {
		f.Log.DebugContext(r.Context(), "another process did not get all that is fetched here", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// firstByte is where the response to a range begins, as Peers asks for it; 0 for any other.
func firstByte(header string, size int64) int64 {
	var from int64
	if _, err := fmt.Sscanf(header, "bytes=%d-", &from); err != nil || from < 0 || from >= size {
		return 0
	}
	return from
}

func (f Flights) join(r *http.Request) (fetch.Target, blob.Content, error) {
	if err := f.verify(r); err != nil {
		return fetch.Target{}, nil, fault.Wrap(err, fault.Denied, fault.DeniedReason, "this listener is for the services of this deployment")
	}
	var id, registry int64
	var digest string
	if _, err := fmt.Sscanf(r.URL.Path, FlightsPath+"%d/%d/%s", &id, &registry, &digest); err != nil {
		return fetch.Target{}, nil, fault.New(fault.Invalid, fault.RequestInvalid, "unknown path")
	}
	d, err := oci.ParseDigest(digest)
	if err != nil {
		return fetch.Target{}, nil, err
	}
	q := r.URL.Query()
	hops, err := strconv.Atoi(q.Get("hops"))
	if err != nil {
		return fetch.Target{}, nil, fault.New(fault.Invalid, fault.RequestInvalid, "hops must be a number")
	}
	repo := meta.Repo{Tenant: tenant.ID(id), Registry: tenant.RegistryID(registry), Name: q.Get("name")}
	t := fetch.Target{Repo: repo, Digest: d, Size: -1, Hops: hops}
	content, ok := f.Fetches.Join(r.Context(), t)
	if !ok {
		return fetch.Target{}, nil, fault.New(fault.NotFound, fault.BlobUnknown, "this blob is not being fetched here")
	}
	return t, content, nil
}

func (f Flights) verify(r *http.Request) error {
	if self, err := url.Parse(f.Self); err != nil || self.Host != "" && self.Host != r.Host {
		web.SetCallRefused(r.Context(), "changed")
		return fmt.Errorf("it is for %s", r.Host)
	}
	c, err := signedcall.Verify(f.Calls, r)
	if err == nil && c.Service != flightService && c.Service != "" { // empty from the previous version
		err = fmt.Errorf("it is for the %s service", c.Service)
	}
	return err
}

// Peers reads from other processes.
type Peers struct{ client *http.Client }

// signing sends requests to other processes.
type signing struct{ signedcall.Transport }

// RoundTrip signs each request.
func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.Send(r, access.InternalCall{Service: flightService}, 0)
}

// peerTimeout is how long another process may take to connect or to respond, which
// it does when it has the first bytes, or knows that it cannot get them.
const peerTimeout = 2 * time.Second

// NewPeers makes Peers that sign with the key of the deployment. With dialTLS they use
// TLS only.
func NewPeers(known *access.Internal, dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)) *Peers {
	dial := (&net.Dialer{Timeout: peerTimeout}).DialContext
	if dialTLS != nil {
		dial = func(_ context.Context, _, addr string) (net.Conn, error) {
			return nil, fmt.Errorf("the process at %s has no internal_tls_certs, and is not asked without TLS", addr)
		}
	}
	return &Peers{&http.Client{
		Transport: signing{signedcall.Transport{Calls: known, Next: &http.Transport{
			DialContext:         dial,
			DialTLSContext:      dialTLS,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		}}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Open implements fetch.Config.Peer.
func (p *Peers) Open(ctx context.Context, at string, t fetch.Target, from int64) (fetch.Part, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+flightPath(t), nil)
	if err != nil {
		return fetch.Part{}, err
	}
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	got, err := p.client.Do(r)
	if err != nil {
		return fetch.Part{}, err
	}
	if got.StatusCode == http.StatusOK { // also of the previous version, which knows no ranges here
		return fetch.Part{Body: got.Body, Size: got.ContentLength}, nil
	}
	start, end, size, ok := ocihttp.ParsePartRange(got.Header.Get("Content-Range"))
	if got.StatusCode != http.StatusPartialContent || !ok || start != from || end+1 != size {
		return fetch.Part{}, errors.Join(fmt.Errorf("the process at %s answered %s", at, got.Status), got.Body.Close())
	}
	return fetch.Part{Body: got.Body, From: from, Size: size}, nil
}
