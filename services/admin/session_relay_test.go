package admin

import (
	"net/http"
	"testing"
)

// TestB12_AnIssuerCannotRelayToAnother: the issuer second sends a person on to the issuer corp, as
// the attacker's browser that began a login there would have been sent. The code of corp must get
// neither to second nor into the attacker's login.
func TestB12_AnIssuerCannotRelayToAnother(t *testing.T) {
	w := withIssuers(t)
	attacker := w.browser()
	honest := attacker.begin(atCorp)
	stolen := make(chan string, 1)
	w.second.Between(func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch state := r.URL.Query().Get("state"); {
			case state != "":
				at, query := *honest, honest.Query()
				query.Set("state", state)
				at.RawQuery = query.Encode()
				http.Redirect(rw, r, at.String(), http.StatusFound)
			case r.URL.Path == "/oauth/token":
				stolen <- r.FormValue("code")
				http.Error(rw, "{}", http.StatusBadRequest)
			default:
				issuer.ServeHTTP(rw, r)
			}
		})
	})
	before := w.state()
	victim := w.browser()
	back := victim.back(atSecond)
	if resp, text := victim.callback(back); resp.StatusCode != http.StatusBadRequest || len(resp.Cookies()) != 0 {
		t.Errorf("%s %s, with %v", resp.Status, text, resp.Cookies())
	}
	select {
	case code := <-stolen:
		back.Set("code", code)
		back.Set("state", honest.Query().Get("state"))
		attacker.came = victim.came
		resp, text := attacker.callback(back)
		t.Errorf("another issuer got the code, and by it the attacker: %s %s", resp.Status, text)
	default:
	}
	if after := w.state(); after != before {
		t.Errorf("something changed: %s", after)
	}
}
