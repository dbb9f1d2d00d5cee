package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type loginCommand struct {
	URL      string        `arg:"" help:"The admin API, such as https://berth.example.com."`
	Tenant   string        `required:"" placeholder:"ID" help:"The tenant to log in to."`
	Provider string        `placeholder:"NAME" help:"The identity provider: identityProviders/ID of the tenant, or operator/identityProviders/ID. Not needed where the tenant has one."`
	Name     string        `placeholder:"TEXT" help:"What the access token is for. Empty: berth login, and the name of this machine."`
	TTL      time.Duration `name:"ttl" placeholder:"DURATION" help:"How long the access token lasts, up to 8784h. Empty: 2160h, which is 90 days."`
	Output   string        `short:"o" enum:"text,json" default:"text" help:"What the standard output gets: text, which is the access token alone, or json, with the user and the end of the token, too. Default: text."`
}

// Help is the longer text of --help.
func (loginCommand) Help() string {
	return `Logs in at the OpenID Connect issuer of a tenant, from a terminal without a browser, and makes an access token for
docker login. It shows an address and a code for a browser of any device, and waits. What people read goes to the
standard error; the standard output gets the access token alone, which is shown once:

  berth login https://berth.example.com --tenant acme
  berth login https://berth.example.com --tenant acme | docker login -u max --password-stdin acme.berth.example.com
  berth login https://berth.example.com --tenant acme --ttl 8h -o json | jq -r .user

Log in only by an address and a code that you asked for: who has another's login approved gets that access token.`
}

// How a login waits.
const (
	slowerBy  = 5 * time.Second // for slow_down: RFC 8628, section 3.5
	fastest   = time.Second
	slowest   = 5 * time.Minute
	loginDone = "done"
)

// deviceBegun is the answer to a login that has begun (RFC 8628, section 3.2).
type deviceBegun struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	Verification    string `json:"verification_uri"`
	VerificationAll string `json:"verification_uri_complete"`
	ExpiresIn       int    `json:"expires_in"`
	Interval        int    `json:"interval"`
}

// loginState is the answer to whether a login has ended.
type loginState struct {
	State string `json:"state"`
	User  string `json:"user"`
	Token struct {
		Secret     string    `json:"secret"`
		Name       string    `json:"name"`
		ExpireTime time.Time `json:"expire_time"`
	} `json:"access_token"`
}

// loggedIn is what -o json prints.
type loggedIn struct {
	User       string    `json:"user"` // for docker login
	Token      string    `json:"token"`
	Name       string    `json:"name"` // by which the token is deleted
	ExpireTime time.Time `json:"expire_time"`
}

func (c loginCommand) Run(e *env) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	if c.Name == "" {
		c.Name = "berth login" + onThisMachine()
	}
	var begun deviceBegun
	body := map[string]string{"tenant": c.Tenant, "provider": c.Provider, "description": c.Name}
	if c.TTL != 0 {
		body["ttl"] = strconv.FormatFloat(c.TTL.Seconds(), 'f', -1, 64) + "s"
	}
	if err := api.post(e.ctx, "/v1/login/device", body, &begun); err != nil {
		if e.ctx.Err() != nil {
			return whyEnded(e.ctx)
		}
		return err
	}
	if begun.DeviceCode == "" || !isPlain(begun.UserCode) || !isPlain(begun.Verification) {
		return fmt.Errorf("%s answered no login; is it the admin API of Berth?", c.URL)
	}
	lasts := time.Duration(begun.ExpiresIn) * time.Second
	fmt.Fprintf(e.stderr, "Open %s in a browser, and enter the code %s\n", begun.Verification, begun.UserCode)
	if begun.VerificationAll != "" && isPlain(begun.VerificationAll) {
		fmt.Fprintf(e.stderr, "or open %s\n", begun.VerificationAll)
	}
	fmt.Fprintf(e.stderr, "The code lasts %s. Waiting …\n", lasts)
	done, err := api.wait(e.ctx, begun, lasts)
	if err != nil {
		return err
	}
	return c.show(e, done)
}

// show prints the token. What is not part of it goes to people.
func (c loginCommand) show(e *env, done loginState) error {
	user := done.User[strings.LastIndexByte(done.User, '/')+1:]
	if done.Token.Secret == "" || !isPlain(done.Token.Secret) || !isPlain(user) {
		return fmt.Errorf("%s answered no access token", c.URL)
	}
	if c.Output == "json" {
		return json.NewEncoder(e.stdout).Encode(loggedIn{user, done.Token.Secret, done.Token.Name, done.Token.ExpireTime})
	}
	fmt.Fprintf(e.stderr, "You are %s. The access token lasts until %s, and is shown once. It is the password of\n  docker login -u %s REGISTRY\n",
		user, done.Token.ExpireTime.Local().Format("2006-01-02 15:04"), user)
	_, err := fmt.Fprintln(e.stdout, done.Token.Secret)
	return err
}

// api is the admin API of the URL. An access token comes by plain HTTP within a machine alone.
func (c loginCommand) api() (loginAPI, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return loginAPI{}, fmt.Errorf("%q is not the URL of an admin API, such as https://berth.example.com", c.URL)
	case u.Scheme == "http" && !isThisMachine(u.Hostname()):
		return loginAPI{}, fmt.Errorf("%s is plain HTTP: anyone on the way could read the access token; use https", c.URL)
	}
	return newLoginAPI(strings.TrimRight(u.String(), "/")), nil
}

func isThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// isPlain reports whether a terminal shows s as it is.
func isPlain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// wait asks until the login ends. Outages of the server or the issuer end no login.
func (a loginAPI) wait(ctx context.Context, begun deviceBegun, lasts time.Duration) (loginState, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lasts, errLoginExpired)
	defer cancel()
	interval := min(max(time.Duration(begun.Interval)*time.Second, fastest), slowest)
	for {
		select {
		case <-ctx.Done():
			return loginState{}, whyEnded(ctx)
		case <-time.After(interval):
		}
		var now loginState
		err := a.post(ctx, "/v1/login/device/token", map[string]string{"device_code": begun.DeviceCode}, &now)
		switch {
		case ctx.Err() != nil:
			return loginState{}, whyEnded(ctx)
		case errors.Is(err, errTryLater):
			continue
		case err != nil:
			return loginState{}, err
		}
		switch now.State {
		case loginDone:
			return now, nil
		case "authorization_pending":
		case "slow_down":
			interval += slowerBy
		case "access_denied":
			return loginState{}, errors.New("the login was refused at the identity provider")
		case "expired_token":
			return loginState{}, errLoginExpired
		default:
			return loginState{}, fmt.Errorf("the server answers %.100q, which this version of berth does not know", now.State)
		}
	}
}

var errLoginExpired = errors.New("the code has expired; run the command again")

// whyEnded tells a signal from the end of the code.
func whyEnded(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errLoginExpired) {
		return errLoginExpired
	}
	return errors.New("interrupted; no access token was made")
}
