package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// maxQuery is the longest query of a REST request in bytes.
const maxQuery = 8 << 10

// newREST is the REST face: the API description for everyone, the gateway for
// those who have a credential.
func newREST(g gate, conn *grpc.ClientConn) (http.Handler, error) {
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, wholeLines{&bodies{runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
		}}}),
		// No header becomes metadata but Authorization, which the gateway passes on
		// by itself, and none of the metadata becomes a header.
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			if method, ok := runtime.RPCMethod(ctx); ok {
				name := strings.TrimPrefix(method, "/"+pb.AdminService_ServiceDesc.ServiceName+"/")
				web.SetRoute(ctx, name)
				web.SetScope(ctx, scopeOf(name))
			}
			return outgoing(ctx)
		}),
		// The method is the request's, whatever its headers say.
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithMiddlewares(answerProbe),
		runtime.WithErrorHandler(writeError),
		runtime.WithRoutingErrorHandler(writeRoutingError),
	)
	if err := pb.RegisterAdminServiceHandler(context.Background(), gateway, conn); err != nil {
		return nil, fmt.Errorf("register the REST gateway: %w", err)
	}
	private := g.authenticated(ownSessions{g, newExporter(g, conn, newUsageExporter(g, conn, gateway))})
	devices := deviceLogins{g, pb.NewAdminServiceClient(conn)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if description, ok := descriptions[r.URL.Path]; ok && r.Method == http.MethodGet {
			web.SetRoute(r.Context(), "openapi")
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(description)
			return
		}
		if r.URL.Path == sessionsPath && r.Method == http.MethodPost {
			g.login(w, r)
			return
		}
		switch path := r.URL.Path; {
		case path == loginPath:
			g.serveLogin(w, r, http.MethodGet, "BeginLogin", g.inTurn(g.beginLogin))
		case strings.HasPrefix(path, callbacksPath):
			g.serveLogin(w, r, http.MethodGet, "FinishLogin", g.inTurn(g.finishLogin))
		case path == devicePath:
			g.serveLogin(w, r, http.MethodPost, "BeginDeviceLogin", devices.begin)
		case path == deviceEndPath:
			g.serveLogin(w, r, http.MethodPost, "FinishDeviceLogin", devices.finish)
		default:
			private.ServeHTTP(w, r)
		}
	}), nil
}

// outgoing says to the gRPC side whose request it is.
func outgoing(ctx context.Context) metadata.MD {
	md := metadata.Pairs(headerCaller, callerOf(ctx).onWire())
	if id := web.RequestID(ctx); id != "" {
		md.Set(headerRequestID, id)
		md.Set(headerClient, web.ClientAddr(ctx).Unmap().String())
		md.Set(headerUserAgent, web.UserAgent(ctx))
	}
	return md
}

// descriptions are the API's own descriptions by path, in OpenAPI 2.0 and 3.1.
var descriptions = map[string][]byte{
	"/openapi.json":     pb.OpenAPI,
	"/openapi-3.1.json": pb.OpenAPI31,
}

// wholeLines ends every answer with a line break, for terminals and for tools that
// read lines.
type wholeLines struct{ *bodies }

// Marshal is that of bodies.
func (w wholeLines) Marshal(v any) ([]byte, error) {
	text, err := w.bodies.Marshal(v)
	return append(text, '\n'), err
}

func noHeader(string) (string, bool) { return "", false }

// setPrivateHeaders keeps an answer out of caches, and from being taken for what it is not.
func setPrivateHeaders(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// authenticated refuses callers without a credential before anything of their
// request is looked at. The gRPC side decides what they may do.
func (g gate) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setPrivateHeaders(w)
		web.SetScope(r.Context(), adminScope)
		c, err := g.callerOfRequest(r)
		if err != nil {
			if len(r.Header.Values("Authorization")) > 0 && fault.KindOf(err) == fault.Unauthenticated {
				web.SetLoginFailed(r.Context(), web.WrongCredential, "")
				g.loginFailed(r.Context(), restListener, web.ClientAddr(r.Context()), web.UserAgent(r.Context()))
			}
			writeStatus(w, r, 0, toStatus(r.Context(), g.log, err))
			return
		}
		web.SetPrincipal(r.Context(), c.actor())
		if len(r.URL.RawQuery) > maxQuery {
			err := fault.New(fault.Invalid, fault.RequestInvalid, "a query has at most %d bytes", maxQuery)
			writeStatus(w, r, 0, toStatus(r.Context(), g.log, err))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxMessage)
		next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), c)))
	})
}

// writeError answers the errors of the gateway, which come from the gRPC side
// or, without details, from its own reading of the request.
func writeError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	code := 0
	if web.TooSlow(ctx) { // the gateway keeps no more of that error than its text
		code = http.StatusRequestTimeout
		err = toStatus(ctx, slog.Default(), fault.New(fault.TooSlow, fault.RequestTimeout, "the request body came too slowly")).Err()
		w.Header().Set("Connection", "close")
	}
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		code, err = routing.HTTPStatus, routing.Err
	}
	s := status.Convert(err)
	ownWords := routing != nil || len(s.Details()) > 0                // else it quotes the request
	if field, message, ok := strings.Cut(s.Message(), fieldEnd); ok { // see inputError
		s = toStatus(ctx, slog.New(slog.DiscardHandler), invalid(field, "%s", message))
	}
	if len(s.Details()) == 0 {
		reason := fault.RequestInvalid
		if s.Code() == codes.Unavailable {
			reason = fault.UnavailableReason
		}
		if detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: string(reason), Domain: errorDomain}); err == nil {
			s = detailed
		}
	}
	writeStatus(w, r, code, asWritten(s))
	if why := refusalOf(s); !ownWords {
		why.Detail = "the request is not one of this method; the client is told what is wrong with it"
		web.SetRefusal(r.Context(), why)
	}
}

// writeRoutingError answers requests that are for none of the API's methods.
func writeRoutingError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if ctx.Value(probeKey{}) != nil {
		return // of methodsOf, which asks for another method
	}
	s := status.New(codes.NotFound, "no such path")
	switch code {
	case http.StatusMethodNotAllowed:
		methods := strings.Join(methodsOf(mux, w, r), ", ")
		w.Header().Set("Allow", methods)
		s = status.Newf(codes.Unimplemented, "this path accepts only %s", methods)
	case http.StatusBadRequest:
		s = status.New(codes.InvalidArgument, "the path is not well-formed")
	}
	writeError(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: code, Err: s.Err()})
}

// writeStatus is the one writer of errors; code 0 means the one that belongs to
// the status.
func writeStatus(w http.ResponseWriter, r *http.Request, code int, s *status.Status) {
	if len(s.Message()) > fault.MaxText { // the gateway quotes what it cannot read
		short := s.Proto()
		short.Message = fault.Clip(short.GetMessage())
		s = status.FromProto(short)
	}
	web.SetRefusal(r.Context(), refusalOf(s))
	if code == 0 {
		code = runtime.HTTPStatusFromCode(s.Code())
	}
	h := w.Header()
	switch s.Code() {
	case codes.Unauthenticated:
		h.Set("WWW-Authenticate", `Bearer realm="berth admin"`)
	case codes.Unavailable, codes.ResourceExhausted:
		h.Set("Retry-After", strconv.Itoa(retryAfter(s)))
	}
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s.Proto())
	if err != nil {
		http.Error(w, `{"code":13,"message":"internal error"}`, http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// retryAfter is the status's own delay in seconds, or a second.
func retryAfter(s *status.Status) int {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return max(1, int(info.GetRetryDelay().AsDuration().Seconds()))
		}
	}
	return 1
}
