package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// sessionsPath is where callers make, list and end their own sessions, over REST alone.
const sessionsPath = "/v1/sessions"

// currentSession is the ID of the session that a request itself belongs to.
const currentSession = "current"

// ownSessions answers calls about the caller's own sessions, and leaves all else to next.
type ownSessions struct {
	gate
	next http.Handler
}

func (o ownSessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, named := strings.CutPrefix(r.URL.Path, sessionsPath+"/")
	if r.URL.Path != sessionsPath && (!named || name == "" || strings.Contains(name, "/")) {
		o.next.ServeHTTP(w, r)
		return
	}
	ctx, c := r.Context(), callerOf(r.Context())
	web.SetScope(ctx, "any credential")
	var answer proto.Message = &emptypb.Empty{}
	var err error
	if r.Method == http.MethodDelete {
		if err := o.service.countOwnChange(ctx); err != nil {
			writeStatus(w, r, 0, toStatus(ctx, o.log, err))
			return
		}
	}
	switch {
	case r.Method == http.MethodGet && !named:
		web.SetRoute(ctx, "ListOwnSessions")
		answer, err = o.service.listOwnSessions(ctx, c)
	case r.Method == http.MethodDelete && !named:
		web.SetRoute(ctx, "DeleteOwnSessions")
		err = o.service.store.DeleteSessions(ctx, sessionCause(ctx, c, "(all)", ""), c.owner())
	case r.Method == http.MethodDelete:
		web.SetRoute(ctx, "DeleteOwnSession")
		err = o.service.deleteOwnSession(ctx, c, name)
	default:
		o.wrongMethod(w, r, named)
		return
	}
	if err != nil {
		writeStatus(w, r, 0, toStatus(ctx, o.log, err))
		return
	}
	if r.Method == http.MethodDelete && (!named || name == currentSession || name == c.session) {
		forgetCookie(w, r)
	}
	o.writeMessage(w, r, answer)
}

func (o ownSessions) wrongMethod(w http.ResponseWriter, r *http.Request, named bool) {
	methods := "GET, POST, DELETE"
	if named {
		methods = "DELETE"
	}
	w.Header().Set("Allow", methods)
	err := fault.New(fault.Unsupported, fault.UnsupportedReason, "this path accepts only %s", methods)
	writeStatus(w, r, http.StatusMethodNotAllowed, toStatus(r.Context(), o.log, err))
}

func (s *Service) listOwnSessions(ctx context.Context, c caller) (*pb.ListSessionsResponse, error) {
	rows, err := s.store.ListSessions(ctx, c.owner())
	return &pb.ListSessionsResponse{Sessions: mapped(rows, func(m meta.Session) *pb.Session {
		shown := sessionMessage("sessions/", m)
		shown.Current = m.Name == c.session
		return shown
	})}, err
}

func (s *Service) deleteOwnSession(ctx context.Context, c caller, name string) error {
	if name == currentSession && c.session == "" {
		return fault.New(fault.Conflict, fault.UnsupportedReason, "the request has no session: it was made with a token")
	}
	if name == currentSession {
		name = c.session
	}
	return s.store.DeleteSession(ctx, sessionCause(ctx, c, name, ""), c.owner(), name)
}

// sessionNamed finds one of the sessions of an owner.
func (s *Service) sessionNamed(ctx context.Context, o meta.SessionOwner, name string) (meta.Session, error) {
	rows, err := s.store.ListSessions(ctx, o)
	if err != nil {
		return meta.Session{}, err
	}
	if i := slices.IndexFunc(rows, func(m meta.Session) bool { return m.Name == name }); i >= 0 {
		return rows[i], nil
	}
	return meta.Session{}, fault.New(fault.NotFound, fault.ResourceUnknown, "session not found")
}

func (g gate) writeSession(w http.ResponseWriter, r *http.Request, made meta.Session) {
	m := sessionMessage("sessions/", made)
	m.Current = true
	g.writeMessage(w, r, m)
}

// writeMessage writes a message as the gateway does.
func (g gate) writeMessage(w http.ResponseWriter, r *http.Request, m proto.Message) {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		writeStatus(w, r, 0, toStatus(r.Context(), g.log, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

// forgetCookie takes the cookie of a session that ended from the browser.
func forgetCookie(w http.ResponseWriter, r *http.Request) {
	if name, err := cookieName(r); err == nil {
		http.SetCookie(w, sessionCookie(name, "", -1))
	}
}

// sessionMessage shows a session; its name begins with parent.
func sessionMessage(parent string, m meta.Session) *pb.Session {
	return &pb.Session{
		Name: parent + m.Name, Principal: m.Actor, Key: shownKey(m), UserAgent: m.UserAgent,
		CreateTime: timestamppb.New(m.CreatedAt), CreateAddress: m.CreatedFrom,
		LastUsedTime: timestamppb.New(m.LastUsedAt), LastUsedAddress: m.LastUsedFrom,
		ExpireTime: timestamppb.New(m.EndsAt),
	}
}

// shownKey is the name of the key of a session. The operator token of the configuration has
// none.
func shownKey(m meta.Session) string {
	if m.Tenant == meta.Deployment && m.Account == 0 {
		return ""
	}
	return m.Key
}
