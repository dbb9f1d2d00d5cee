package front

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/signedcall"
)

// How long the other process may take for its next step: connect, take more of
// the request, answer, send more of the answer. It needs minutes where it puts a
// large upload together, or waits for all of a blob that an upstream sends before
// it answers with a part of it.
const (
	connectTimeout     = 2 * time.Second
	defaultStepTimeout = 30 * time.Second // waits for the client do not count
	longTimeout        = 6 * time.Minute
	proxyTimeout       = 2 * time.Minute // of the proxy service, which bounds its waits for upstreams itself
)

// Remote is a service that another process runs.
type Remote struct {
	Service string           // its name; "proxy" is asked whatever the path is
	URL     *url.URL         // of its process's internal listener
	Calls   *access.Internal // signs
	Log     *slog.Logger

	// StepTimeout is how long the other process may take for a step, whatever it
	// is; 0 is as long as that step may need.
	StepTimeout time.Duration

	// DialTLS connects where URL is https; nil trusts what the system does.
	DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Handler forwards calls that passed this process's front to the other process,
// signed and with the front's decisions. It streams both ways. A service that
// cannot be reached, or makes no progress, is an outage.
func (s Remote) Handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(s.URL)
			p.Out.Host = p.In.Host
			propagation.TraceContext{}.Inject(p.In.Context(), propagation.HeaderCarrier(p.Out.Header))
		},
		Transport: signingTransport{s, signedcall.Transport{Calls: s.Calls, Next: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
			DialTLSContext:        s.DialTLS,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       time.Minute,
			ExpectContinueTimeout: defaultStepTimeout, // sending the body unasked would be wrong, too
			DisableCompression:    true,
		}}},
		FlushInterval: -1,
		ModifyResponse: func(answer *http.Response) error {
			takeRefusal(answer)
			CallOf(answer.Request.Context()).takeUsage(answer.Header)
			// This process's own are there already.
			answer.Header.Del(web.HeaderRequestID)
			answer.Header.Del("X-Content-Type-Options")
			if c := CallOf(answer.Request.Context()); c.Route.Kind == ocihttp.Blob && answer.StatusCode < http.StatusMultipleChoices {
				web.AllowPause(answer.Request.Context(), int64(c.Site.Tenant))
			}
			closeIfUnread(answer.Header, answer.Request)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			closeIfUnread(w.Header(), r)
			if slow := sharedBodyOf(r).tooSlow(); slow != nil {
				if CallOf(r.Context()).uploadsBlob(r.Method) {
					slow = fault.Wrap(slow, fault.TooSlow, fault.BlobUploadInvalid, "%s; continue where the upload's status says", slow.Message)
				}
				WriteError(w, r, slow)
				return
			}
			WriteError(w, r, fault.Down(err, "the "+s.Service+" service"))
		},
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Upgrade") // no service speaks another protocol
		// The answer does not wait for a body that is still being handed on.
		conn := http.NewResponseController(w)
		if err := conn.EnableFullDuplex(); err != nil {
			WriteError(w, r, err)
			return
		}
		body := &sharedBody{ReadCloser: r.Body}
		body.left.Store(r.ContentLength)
		defer body.reclaim(conn, r)
		if c := CallOf(r.Context()); c.uploadsBlob(r.Method) {
			// Whether the session holds bytes is known there, where the first one has
			// to come as soon as any.
			web.AllowPause(r.Context(), int64(c.Site.Tenant))
		}
		r = r.WithContext(context.WithValue(r.Context(), sharedBodyKey{}, body))
		r.Body = body
		proxy.ServeHTTP(w, r)
	})
}

// uploadsBlob says whether the request brings a blob, of a caller who may push.
func (c *Call) uploadsBlob(method string) bool {
	isUpload := c.Route.Kind == ocihttp.Upload || c.Route.Kind == ocihttp.UploadStart
	return isUpload && method != http.MethodGet && c.mayPush()
}

func (c *Call) mayPush() bool {
	return c.Allowed(access.Repository(c.Route.Name, access.Push)).Has(access.Push)
}

// signingTransport sends calls, and ends those that make no progress.
type signingTransport struct {
	Remote
	signing signedcall.Transport
}

var errStalled = errors.New("it took too long for its next step")

// RoundTrip signs the call here and not earlier, where a client's Connection
// header could remove the signature.
func (c signingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	limit := c.stepTimeout(r)
	ctx, cancel := context.WithCancelCause(untraced{r.Context()})
	timer := time.AfterFunc(limit, func() { cancel(errStalled) })
	r = r.WithContext(ctx)
	if r.Body != nil {
		r.Body = requestBody{progressReader{r.Body, timer, limit}}
	}
	answer, err := c.signing.Send(r, c.signedCall(r), maxSigned(CallOf(ctx), r.Method))
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, err
	}
	timer.Stop() // until the reader waits for more of the answer
	answer.Body = &responseBody{progressReader{answer.Body, timer, limit}, cancel, time.Now(), 0}
	return answer, nil
}

// untraced hides the trace by which ReverseProxy forwards "100 Continue", and then clears
// all headers of the response. The server itself says so when the body is first read.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok {
		return nil
	}
	return value
}

// stepTimeout is how long the other process may take for a step.
func (s Remote) stepTimeout(r *http.Request) time.Duration {
	if r.Method == http.MethodPut || r.Body != nil || r.Header.Get("Range") != "" {
		return cmp.Or(s.StepTimeout, longTimeout)
	}
	if s.Service == proxyService {
		return cmp.Or(s.StepTimeout, proxyTimeout)
	}
	return cmp.Or(s.StepTimeout, defaultStepTimeout)
}

// signedCall describes the request for the other process.
func (c signingTransport) signedCall(r *http.Request) access.InternalCall {
	call := CallOf(r.Context())
	return access.InternalCall{
		Service: c.Service, Namespace: call.namespace, Hops: call.Hops,
		Site: call.Site, Principal: call.Principal, Claims: call.claims, Realm: call.realm,
		Client: web.ClientAddr(r.Context()), RequestID: web.RequestID(r.Context()),
	}
}

// The longest bodies that a signature covers. They are buffered.
const (
	maxSignedManifest = 4 << 20
	maxSignedOther    = 64 << 10 // of everything else, such as a form that asks for a token
)

// maxSigned is the longest body of the request that its signature covers. That of a
// blob continues as it comes, and is compared with its digest where it is stored.
func maxSigned(c *Call, method string) int64 {
	kind, brings := c.Route.Kind, method == http.MethodPost || method == http.MethodPatch || method == http.MethodPut
	switch {
	case brings && (kind == ocihttp.Upload || kind == ocihttp.UploadStart):
		return 0
	case brings && kind == ocihttp.Manifest:
		return maxSignedManifest
	default:
		return maxSignedOther
	}
}

// NotConfigured is the handler of a service whose URL is not
// configured.
func NotConfigured(service, setting string) http.Handler {
	err := errors.New("requests for the " + service + " service come to a process that does not run it: route them by path before this process, or set " + setting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, r, fault.Down(err, "the "+service+" service"))
	})
}
