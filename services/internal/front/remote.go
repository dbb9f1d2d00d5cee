package front

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// internalHeader carries the signed call.
const internalHeader = "Berth-Internal-Call"

// Remote is a service that another process runs.
type Remote struct {
	Service string           // its name, for messages
	URL     *url.URL         // of its process's internal listener
	Calls   *access.Internal // signs
	Log     *slog.Logger
}

// Handler hands the calls that passed this process's front on to the other,
// with what the front found out, signed. It streams both ways. A service that
// cannot be reached is an outage.
func (s Remote) Handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(s.URL)
			p.Out.Host = p.In.Host
			propagation.TraceContext{}.Inject(p.In.Context(), propagation.HeaderCarrier(p.Out.Header))
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       time.Minute,
			ExpectContinueTimeout: 5 * time.Second,
			DisableCompression:    true,
		},
		FlushInterval: -1,
		ModifyResponse: func(answer *http.Response) error {
			answer.Header.Del(web.HeaderRequestID) // ours is there
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			WriteError(w, r, fault.Down(err, "the "+s.Service+" service"))
		},
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed, err := s.sign(r)
		if err != nil {
			WriteError(w, r, err)
			return
		}
		r.Header[internalHeader] = []string{signed}
		proxy.ServeHTTP(w, r)
	})
}

func (s Remote) sign(r *http.Request) (string, error) {
	call := CallOf(r.Context())
	return s.Calls.Sign(access.InternalCall{
		Method: r.Method, Path: r.URL.EscapedPath(),
		Site: call.Site, Principal: call.Principal, Claims: call.claims, Realm: call.realm,
		Client: web.ClientAddr(r.Context()), RequestID: web.RequestID(r.Context()),
	})
}

// Absent is the handler of a service that other processes run, where this one
// does not know how to reach it.
func Absent(service, setting string) http.Handler {
	err := errors.New("requests for the " + service + " service come to a process that does not run it: route them by path before this process, or set " + setting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, r, fault.Down(err, "the "+service+" service"))
	})
}
