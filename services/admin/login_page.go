package admin

import (
	"html/template"
	"net/http"
	"net/url"
)

// fromAnotherSite reports whether a page of another origin sent the browser here. Browsers before
// 2023, and programs, do not say.
func fromAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	default:
		return true
	}
}

// askFirst lets the person decide whether to log in: else a page of another site could log a browser in
// at a tenant of an attacker, by one click on anything.
func askFirst(w http.ResponseWriter, tenant string, query url.Values) error {
	setPageHeaders(w)
	return askLogin.Execute(w, struct{ Tenant, Provider, At string }{tenant, query.Get("provider"), loginPath + "?" + query.Encode()})
}

var askLogin = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8"><title>Berth</title>
<p>A page of another site asks you to log in at the tenant {{.Tenant}} by {{.Provider}}. A session that this browser has here would end.
<p><a href="{{.At}}">Log in</a>
`))

// loggedIn is a page, and no redirect: to one that began at the issuer, browsers would not send the
// session's cookie, which is SameSite=Strict.
var loggedIn = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8"><title>Berth</title>{{if .Return}}
<meta http-equiv="refresh" content="0; url={{.Return}}">{{end}}
<p>You are logged in as {{.Name}}.{{if .Return}} <a href="{{.Return}}">Continue</a>{{end}}
`))

func setPageHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}
