package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Paths of logins of devices, which are terminals without a browser (RFC 8628).
const (
	devicePath    = "/v1/login/device"
	deviceEndPath = "/v1/login/device/token"
)

// How many logins of devices an address may begin at a tenant in a period, at one node.
const (
	maxDeviceLogins    = 30
	deviceLoginsPeriod = 10 * time.Minute
)

// deviceLogins log in people at issuers for devices, and make access tokens for them.
type deviceLogins struct {
	gate
	client pb.AdminServiceClient
}

// deviceBody begins a login.
type deviceBody struct {
	Tenant      string `json:"tenant"`
	Provider    string `json:"provider"`    // as for a browser; empty: the only one
	Description string `json:"description"` // of the access token
	TTL         string `json:"ttl"`         // of the access token, such as 3600s
}

// deviceAnswer is that of RFC 8628, section 3.2.
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"` // a sealed deviceState
	UserCode        string `json:"user_code"`
	Verification    string `json:"verification_uri"`
	VerificationAll string `json:"verification_uri_complete,omitempty"`
	ExpiresIn       int    `json:"expires_in"` // s
	Interval        int    `json:"interval"`   // s
}

// deviceTokenAnswer answers a request for the token: with the token, or with the reason why not yet, or never.
type deviceTokenAnswer struct {
	State string          `json:"state"`
	User  string          `json:"user,omitempty"`
	Token json.RawMessage `json:"access_token,omitempty"`
}

const deviceDone = "done"

// fromDevice refuses what a login of a device must not come by: plain HTTP, where anyone on the way
// could read the access token, and pages of other origins.
func fromDevice(r *http.Request) error {
	if _, err := cookieName(r); err != nil {
		return fault.New(fault.Denied, fault.DeniedReason, "logins need TLS, unless the client is on the machine of the server, and asks it as localhost: set admin_tls_certs and use https")
	}
	if crossOrigin.Check(r) != nil {
		return web.ErrForeignPage()
	}
	return nil
}

// begin begins a login at the issuer.
func (d deviceLogins) begin(w http.ResponseWriter, r *http.Request) error {
	if err := fromDevice(r); err != nil {
		return err
	}
	var body deviceBody
	if err := readLogin(w, r, &body, `{"tenant": …, "provider": …, "description": …, "ttl": "3600s"}`); err != nil {
		return err
	}
	if _, err := d.service.deviceToken(body.Description, body.TTL); err != nil {
		return err
	}
	return d.inTurn(func(w http.ResponseWriter, r *http.Request) error {
		answer, err := d.service.beginDevice(r.Context(), body)
		if err != nil {
			return err
		}
		return writeLogin(w, answer)
	})(w, r)
}

// deviceToken is the access token that a login is to make.
func (s *Service) deviceToken(description, ttl string) (*pb.AccessToken, error) {
	m := &pb.AccessToken{Description: description}
	if err := checkDisplayName("description", description); err != nil {
		return nil, err
	}
	if ttl != "" {
		m.Ttl = &durationpb.Duration{}
		if protojson.Unmarshal([]byte(strconv.Quote(ttl)), m.Ttl) != nil {
			return nil, invalid("ttl", "it is a number of seconds, such as 3600s")
		}
	}
	tokens := s.accessTokens()
	tokens.field = "ttl"
	_, err := tokens.expiry(m.GetTtl())
	return m, err
}

func (s *Service) beginDevice(ctx context.Context, body deviceBody) (deviceAnswer, error) {
	t, err := s.tenantOfLogin(ctx, body.Tenant)
	if err != nil {
		return deviceAnswer{}, err
	}
	key := limit.Key{Kind: "logins of devices", Tenant: t.ID, Name: web.Network(web.ClientAddr(ctx)).String()}
	if err := s.begun.Check(ctx, key); err != nil {
		return deviceAnswer{}, fault.New(fault.TooMany, fault.TooManyRequests, "too many logins of devices were begun from this address; retry later").
			WithRetryAfter(fault.From(err).RetryAfter)
	}
	if err := s.begun.Add(ctx, key); err != nil {
		return deviceAnswer{}, err
	}
	provider, err := s.providerOfDevice(ctx, t.ID, body.Provider)
	if err != nil {
		return deviceAnswer{}, err
	}
	leave, err := s.enterIssuer(ctx, provider)
	if err != nil {
		return deviceAnswer{}, err
	}
	defer leave()
	said, err := s.issuers.BeginDevice(ctx, t.ID, provider)
	if err != nil {
		return deviceAnswer{}, err
	}
	sealed, err := s.sealDevice(deviceState{
		ID: rand.Text(), Tenant: t.Slug, TenantID: t.ID, Provider: provider, Code: said.Code, Interval: said.Interval, Ends: time.Now().Add(said.Life),
		Description: body.Description, TTL: body.TTL,
	})
	return deviceAnswer{
		DeviceCode: sealed, UserCode: said.UserCode, Verification: said.Verification, VerificationAll: said.VerificationAll,
		ExpiresIn: int(said.Life.Seconds()), Interval: int(said.Interval.Seconds()),
	}, err
}

func (s *Service) providerOfDevice(ctx context.Context, t tenant.ID, name string) (int64, error) {
	if name == "" {
		return s.issuers.FindOnly(ctx, t)
	}
	return s.issuers.Find(ctx, t, name)
}

// finish answers whether the person has logged in, and then with an access token, once.
func (d deviceLogins) finish(w http.ResponseWriter, r *http.Request) error {
	if err := fromDevice(r); err != nil {
		return err
	}
	var body struct {
		DeviceCode string `json:"device_code"`
	}
	if err := readLogin(w, r, &body, `{"device_code": …}`); err != nil {
		return err
	}
	return d.inTurn(func(w http.ResponseWriter, r *http.Request) error {
		state, err := d.service.openDevice(body.DeviceCode)
		if err != nil {
			return err
		}
		p, err := d.service.finishDevice(r.Context(), state)
		var not oidclogin.DeviceState
		if errors.As(err, &not) {
			if not == oidclogin.DeviceDenied {
				d.noteRefusedLogin(r)
			}
			return writeLogin(w, deviceTokenAnswer{State: string(not)})
		}
		if err != nil {
			return err
		}
		return d.makeToken(w, r, state, p)
	})(w, r)
}

// finishDevice asks the issuer whether the person has logged in.
func (s *Service) finishDevice(ctx context.Context, state deviceState) (access.Principal, error) {
	t, err := s.tenantOfLogin(ctx, state.Tenant)
	if err != nil {
		return access.Principal{}, err
	}
	now := time.Now()
	switch {
	case t.ID != state.TenantID:
		return access.Principal{}, fault.New(fault.Invalid, fault.RequestInvalid, "the tenant is another one now; begin another login").WithField("device_code")
	case now.After(state.Ends):
		return access.Principal{}, oidclogin.DeviceExpired
	case s.asked.early(state.ID, state.Interval, now):
		return access.Principal{}, oidclogin.DeviceSlowDown
	}
	leave, err := s.enterIssuer(ctx, state.Provider)
	if err != nil {
		return access.Principal{}, err
	}
	defer leave()
	return s.issuers.FinishDevice(ctx, t.ID, state.Provider, state.ID, state.Code, state.Ends.Sub(now)+time.Minute)
}

// makeToken makes the access token as the person does with a session: by the same call, with the
// same checks.
func (d deviceLogins) makeToken(w http.ResponseWriter, r *http.Request, state deviceState, p access.Principal) error {
	m, err := d.service.deviceToken(state.Description, state.TTL)
	if err != nil {
		return err
	}
	web.SetPrincipal(r.Context(), p.Name)
	c := caller{principal: p}
	ctx := withCaller(r.Context(), c)
	made, err := d.client.CreateAccessToken(metadata.NewOutgoingContext(ctx, outgoing(ctx)), &pb.CreateAccessTokenRequest{
		Parent: "tenants/" + state.Tenant + "/users/" + c.account(), AccessToken: m,
	})
	if err != nil {
		writeError(ctx, nil, nil, w, r, err)
		return nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(made)
	if err != nil {
		return err
	}
	return writeLogin(w, deviceTokenAnswer{State: deviceDone, User: p.Name, Token: text})
}

// writeLogin answers a step of the login of a device.
func writeLogin(w http.ResponseWriter, answer any) error {
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
	return nil
}
