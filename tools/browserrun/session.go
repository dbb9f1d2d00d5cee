package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/berth-registry/berth/pkg/await"
)

// ownPage runs code in a page of the admin listener's own origin, as a console does.
func ownPage(tab context.Context, v *victim, code string) (string, error) {
	if err := chromedp.Do(tab, chromedp.Navigate("http://"+host(v.admin)+"/openapi.json")); err != nil {
		return "", err
	}
	return chromedp.Run(tab, chromedp.Evaluate[string](code, chromedp.EvalAwaitPromise))
}

// logIn gives the browser a session of the operator. No script reads its cookie.
func logIn(tab context.Context, v *victim) error {
	token, err := json.Marshal(strings.TrimSpace(string(v.token)))
	if err != nil {
		return err
	}
	const code = `(async () => {
  const made = await fetch('/v1/sessions', {method: 'POST', body: JSON.stringify({token: %s})})
  return made.status + ' ' + (await fetch('/v1/tenants')).status + ' ' + document.cookie
})()`
	got, err := ownPage(tab, v, fmt.Sprintf(code, token))
	if err == nil && got != "200 200 " {
		err = fmt.Errorf("the browser's login, its first call and what a script sees of the cookie: %q", got)
	}
	return err
}

// logOut finds the session as it was, and ends it.
func logOut(tab context.Context, v *victim) error {
	const code = `(async () => {
  const before = (await fetch('/v1/tenants')).status
  const end = (await fetch('/v1/sessions/current', {method: 'DELETE'})).status
  return before + ' ' + end + ' ' + (await fetch('/v1/tenants')).status
})()`
	got, err := ownPage(tab, v, code)
	if err == nil && got != "200 200 401" {
		err = fmt.Errorf("a call of the browser that is logged in, its logout and a call after that: %q", got)
	}
	return err
}

// navigate has a foreign page send the whole tab to the admin listener, by links and forms.
func navigate(tab context.Context, foreign string, v *victim) (int, error) {
	tried := 0
	for _, path := range []string{"/v1/tenants?tenant_id=evil", "/v1/sessions", "/v1/tenants/default:suspend", "/v1/operators?operator_id=evil"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			tried++
			target := "http://" + host(v.admin) + path
			if err := chromedp.Do(tab, chromedp.Navigate(foreign)); err != nil {
				return tried, err
			}
			const code = `(() => {
  const form = Object.assign(document.createElement('form'), {action: %q, method: %q, enctype: 'text/plain', target: '_top'})
  form.append(Object.assign(document.createElement('input'), {name: '{"a":"', value: '"}'}))
  document.body.append(form)
  form.submit()
  return ''
})()`
			if _, err := chromedp.Run(tab, chromedp.Evaluate[string](fmt.Sprintf(code, target, method))); err != nil {
				return tried, err
			}
			arrived := func() bool {
				at, err := chromedp.Run(tab, chromedp.Evaluate[string](`location.origin + ' ' + document.readyState`))
				return err == nil && at == "http://"+host(v.admin)+" complete"
			}
			const patience = 10 * time.Second
			if err := await.Within(tab, patience, "the tab gets to "+target, arrived); err != nil {
				return tried, err
			}
		}
	}
	return tried, nil
}
