package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// caller is who makes a call. The zero value may do nothing.
type caller struct {
	operator  bool
	name      string           // of an operator; empty for the operator token of the configuration
	id        int64            // of an operator; 0 for the operator token of the configuration
	token     string           // the name of an operator's token, if it made the call
	principal access.Principal // of an account; zero for an operator
	session   string           // the name of the session, if the call belongs to one
}

// has reports whether the caller is a principal of a tenant with one of these roles.
func (c caller) has(roles []access.Role) bool {
	return !c.principal.Anonymous() && slices.Contains(roles, c.principal.Role)
}

// admin reports whether the caller may change everything in its tenant.
func (c caller) admin() bool { return c.operator || c.principal.Role == access.Admin }

// account is the caller's ID in its tenant.
func (c caller) account() string {
	_, id, _ := access.AccountOf(c.principal.Name)
	return id
}

func (c caller) actor() string {
	switch {
	case !c.operator:
		return c.principal.Actor()
	case c.name == "":
		return "operator"
	default:
		return meta.OperatorName(c.name)
	}
}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// headerCaller carries who made a REST request to the gRPC side of it.
const headerCaller = "x-berth-caller-bin"

// wireCaller is a caller as it goes through the pipe.
type wireCaller struct {
	Operator  bool
	Name      string
	Token     string
	Session   string
	Principal access.Principal
}

// onWire is the caller for the gRPC side.
func (c caller) onWire() string {
	text, _ := json.Marshal(wireCaller{c.operator, c.name, c.token, c.session, c.principal}) // never fails: words and numbers
	return string(text)
}

// callerOfCall authenticates a call over gRPC. One through the pipe was
// authenticated by the REST side, and no header of a client can say so.
func (s *Service) callerOfCall(ctx context.Context) (caller, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if p, ok := peer.FromContext(ctx); ok && p.Addr.Network() == pipeNetwork {
		var w wireCaller
		v := md.Get(headerCaller)
		if len(v) != 1 {
			return caller{}, unauthenticated("the admin API needs one `Authorization: Bearer` header")
		}
		if err := json.Unmarshal([]byte(v[0]), &w); err != nil {
			return caller{}, err
		}
		return caller{operator: w.Operator, name: w.Name, token: w.Token, session: w.Session, principal: w.Principal}, nil
	}
	return s.authenticate(ctx, md.Get("authorization"))
}

type tenantKey struct{}

// rememberTenant lets tenantBySlug find a tenant once in a call.
func rememberTenant(ctx context.Context) context.Context {
	return context.WithValue(ctx, tenantKey{}, new(meta.Tenant))
}

// tenantBySlug finds a tenant that is not deleted.
func (s *Service) tenantBySlug(ctx context.Context, slug string) (meta.Tenant, error) {
	known, _ := ctx.Value(tenantKey{}).(*meta.Tenant)
	if known != nil && known.ID != 0 && known.Slug == slug {
		return *known, nil
	}
	t, err := s.store.FindTenant(ctx, slug)
	if fault.Is(err, fault.ResourceUnknown) && callerOf(ctx).operator {
		return t, s.tellDeleted(ctx, slug, err)
	}
	if err == nil && known != nil {
		*known = t
	}
	return t, err
}

// tellDeleted is the error err that there is no tenant, or says that it is deleted.
// Only the operator may know that.
func (s *Service) tellDeleted(ctx context.Context, slug string, err error) error {
	t, holderErr := s.store.FindHolder(ctx, slug)
	switch {
	case fault.Is(holderErr, fault.ResourceUnknown):
		return err
	case holderErr != nil:
		return holderErr
	case t.ExpireAt.After(time.Now()):
		return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q is deleted; until %s, POST /v1/tenants/%s:undelete brings it back",
			slug, t.ExpireAt.UTC().Format(time.RFC3339), slug)
	case t.State == tenant.Deleting || t.State == tenant.Deleted:
		return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted and cannot be brought back", slug)
	default: // it was made meanwhile
		return err
	}
}

// authenticate says who sent the values of the Authorization header. No
// credential, two, or a wrong one is fault.Unauthenticated; an outage is not.
func (s *Service) authenticate(ctx context.Context, authorization []string) (caller, error) {
	if len(authorization) != 1 {
		return caller{}, unauthenticated("the admin API needs one `Authorization: Bearer` header")
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return caller{}, unauthenticated("the admin API takes `Authorization: Bearer` credentials only")
	}
	return s.callerByBearer(ctx, token)
}

// callerByBearer finds whose token this is.
func (s *Service) callerByBearer(ctx context.Context, token string) (caller, error) {
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], s.operator[:]) == 1 {
		return caller{operator: true, token: s.operatorKey()}, nil
	}
	c, used, err := s.callerByToken(ctx, token, hash)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return caller{}, unauthenticated("the token is not valid")
	case err != nil:
		return caller{}, err
	}
	from := web.ClientAddr(ctx)
	if !from.IsValid() {
		from = client(ctx)
	}
	s.uses.Add(used, from)
	return c, nil
}

// callerByToken finds the operator or the account that has a token, in one statement, and
// whose use is to be noted.
func (s *Service) callerByToken(ctx context.Context, token string, hash [sha256.Size]byte) (caller, meta.Login, error) {
	if strings.HasPrefix(token, operatorPrefix) {
		o, err := s.store.FindOperatorByToken(ctx, hash)
		return caller{operator: true, name: o.Slug, id: o.ID, token: o.Token}, meta.Login{Account: meta.Account{Tenant: meta.Deployment, ID: o.ID}, Key: o.Token}, err
	}
	a, err := s.store.FindAccountByKey(ctx, 0, "", hash)
	return caller{principal: a.Principal()}, a, err
}

func unauthenticated(message string) error {
	return fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "%s", message)
}
