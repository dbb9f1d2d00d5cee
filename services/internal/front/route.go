package front

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// The paths that Services.Token serves on every host: the token endpoint, and
// the keys its tokens are verified with.
const (
	TokenPath = "/token"
	KeysPath  = "/token/jwks"
)

// router authenticates a request and passes it to its service, by path.
type router struct {
	Config
	Services
}

func (s router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if CallOf(r.Context()).Site.IsMirror() {
		s.serveMirror(w, r)
		return
	}
	path := r.URL.EscapedPath()
	if isToken(path) {
		if err := s.Rates.admit(r.Context(), CallOf(r.Context()), true); err != nil { // its caller is found by the token service
			WriteError(w, r, err)
			return
		}
		s.serveToken(w, r)
		return
	}
	if strings.HasPrefix(path, "/v2") {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	}
	route, err := ocihttp.ParsePath(path)
	if err != nil {
		WriteError(w, r, pathError(r.Method, err))
		return
	}
	web.SetRoute(r.Context(), route.Kind.String())
	call := CallOf(r.Context())
	call.Route = route
	namespace, err := s.namespace(r, call)
	if err == nil {
		err = call.resolveTarget(r.Method, namespace)
	}
	if err != nil {
		WriteError(w, r, err)
		return
	}
	if namespace != "" {
		w.Header().Set(ocihttp.HeaderNamespace, namespace)
	}
	if err := s.authenticate(r, call); err != nil {
		WriteError(w, r, err)
		return
	}
	LogPrincipal(r.Context(), call.Principal)
	if err := call.decideBy(r.Context(), s.Policies); err != nil {
		WriteError(w, r, err)
		return
	}
	if err := s.Rates.admit(r.Context(), call, call.isStranger()); err != nil {
		WriteError(w, r, err)
		return
	}
	end, err := s.Rates.beginUpload(r, call)
	if err != nil {
		WriteError(w, r, err)
		return
	}
	defer end()
	call.followSent(r.Context(), r.Method)
	call.followReceived(r)
	defer call.finishUsage(r)
	if s.Pulls != nil {
		defer s.tellPull(w.Header(), r, call) // a client that leaves before the end has pulled, too
	}
	s.serveRoute(w, r)
}

func isToken(path string) bool { return path == TokenPath || path == KeysPath }

func (s Services) serveToken(w http.ResponseWriter, r *http.Request) {
	web.SetRoute(r.Context(), "token")
	s.Token.ServeHTTP(w, r)
}

// serveRoute serves a call whose route and principal are known. The access line
// of a refusal says what was needed also where net/http wrote the answer.
func (s Services) serveRoute(w http.ResponseWriter, r *http.Request) {
	s.dispatch(w, r)
	if web.RefusedWithoutScope(r.Context()) {
		CallOf(r.Context()).logScope(r, nil)
	}
}

func (s Services) dispatch(w http.ResponseWriter, r *http.Request) {
	call := CallOf(r.Context())
	if call.Upstream != "" {
		web.AddLogAttrs(r.Context(), slog.String("upstream", call.Upstream))
	}
	switch kind := call.Route.Kind; {
	case call.Upstream != "", call.forwardedToProxy && call.isPull(r.Method):
		BeforeProxy(s.Proxy).ServeHTTP(w, r)
	case kind == ocihttp.Base:
		serveBase(w, r)
	case kind == ocihttp.UploadStart, kind == ocihttp.Upload:
		s.Upload.ServeHTTP(w, r)
	default:
		s.Registry.ServeHTTP(w, r)
	}
}

// pathError makes a malformed tag an invalid request where one is to be made:
// only for reading is it a manifest that does not exist.
func pathError(method string, err error) error {
	if fault.Is(err, fault.TagInvalid) && method == http.MethodPut {
		return fault.New(fault.Invalid, fault.TagInvalid, "%s", fault.From(err).Message)
	}
	return err
}

// serveBase answers /v2/, by which clients find out whether this is a registry
// and how to authenticate. Without a credential the answer is a challenge, also
// where anyone may do everything: a client sends its credential only if challenged
// here, and a client without one gets a token anyway.
func serveBase(w http.ResponseWriter, r *http.Request) {
	if err := checkRead(w, r); err != nil {
		WriteError(w, r, err)
		return
	}
	c := CallOf(r.Context())
	if c.claims == nil && c.Principal.Anonymous() {
		WriteError(w, r, unauthenticated(access.Scope{}))
		return
	}
	writeBase(w, r)
}

// writeBase says that this is a registry.
func writeBase(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(emptyObject)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(emptyObject)) // a client that is gone needs no answer
	}
}

// emptyObject is the body of /v2/.
const emptyObject = "{}\n"

func checkRead(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	return methodNotAllowed(w, http.MethodGet, http.MethodHead)
}

// Endpoints is a service's handler, by endpoint of the distribution API; 404 for
// endpoints that the service does not have.
type Endpoints map[ocihttp.Kind]Methods

// ServeHTTP serves a request that passed the front.
func (e Endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	methods, ok := e[CallOf(r.Context()).Route.Kind]
	if !ok {
		WriteError(w, r, endpointNotFound())
		return
	}
	methods.ServeHTTP(w, r)
}

// Methods is an endpoint's handler, by method; 405 for all others.
type Methods map[string]http.Handler

// ServeHTTP serves a request that passed the front.
func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	WriteError(w, r, methodNotAllowed(w, slices.Sorted(maps.Keys(m))...))
}

func endpointNotFound() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "no such endpoint of the distribution API")
}

// methodNotAllowed is the error for a method that the path does not have. It names
// in Allow those it has.
func methodNotAllowed(w http.ResponseWriter, allowed ...string) error {
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	return fault.New(fault.Unsupported, fault.UnsupportedReason, "this path accepts only %s", list)
}
