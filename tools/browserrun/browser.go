package main

import (
	"context"
	_ "embed" // the attack
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
)

//go:embed attack.js
var script string

// page is what every attack runs in.
const page = "<!doctype html><title>a page</title><body>"

// openBrowser starts a browser in which all names below test lead to this
// machine, as a stranger can have the own names do.
func openBrowser(ctx context.Context, binary, profile string) (context.Context, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.UserDataDir(profile), chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-background-networking", true),
		// Its own guard of local networks would stop some attacks before they reach Berth.
		chromedp.Flag("disable-features", "Translate,LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,HttpsUpgrades"),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	allocated, closeBrowser := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(allocated)
	closeAll := func() { closeTab(); closeBrowser() }
	if err := chromedp.Do(tab); err != nil {
		closeAll()
		return nil, nil, fmt.Errorf("start the browser %s: %w (tools/install deb:chromium installs it)", binary, err)
	}
	return tab, closeAll, nil
}

// attack plays the page of another site, that of another origin of the same site, to which
// the browser sends its cookies, and then one page for each listener that has the
// listener's own origin, by a name that leads there.
func attack(tab context.Context, v *victim) ([]string, int, error) {
	targets := map[string]string{}
	for name, at := range v.listeners() {
		targets[name] = "http://" + at
	}
	var lc net.ListenConfig
	l, err := lc.Listen(tab, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	foreign := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(page))
	})}
	defer foreign.Close()
	go func() { _ = foreign.Serve(l) }()
	var found []string
	tried := 0
	for _, name := range []string{"evil.test", "localhost"} {
		at := "http://" + name + l.Addr().String()[strings.LastIndex(l.Addr().String(), ":"):] + "/"
		got, n, err := play(tab, at, targets, false)
		if err != nil {
			return nil, 0, fmt.Errorf("the page of %s: %w", name, err)
		}
		found, tried = append(found, got...), tried+n
		if n, err = navigate(tab, at, v); err != nil {
			return nil, 0, fmt.Errorf("the page of %s: %w", name, err)
		}
		tried += n
	}
	for name, at := range v.listeners() {
		own := "http://rebound.test" + at[strings.LastIndex(at, ":"):]
		got, n, err := rebound(tab, own, map[string]string{name: own})
		if err != nil {
			return nil, 0, fmt.Errorf("%s by a name of the page's own: %w", name, err)
		}
		found, tried = append(found, got...), tried+n
	}
	return found, tried, nil
}

// rebound is a page that came from elsewhere before its name led here: the browser
// gets this one document from this program, and all else from the listener.
func rebound(tab context.Context, own string, targets map[string]string) ([]string, int, error) {
	at := own + "/the-page"
	ctx, cancel := context.WithCancel(tab)
	defer cancel()
	asked := chromedp.Events(ctx, fetch.RequestPaused)
	go func() {
		for paused, err := range asked {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{ // else the page does not come
				RequestID: paused.RequestID, ResponseCode: http.StatusOK, Body: []byte(page),
				ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}},
			})
		}
	}()
	if _, err := chromedp.Call(ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: at}}}); err != nil {
		return nil, 0, err
	}
	found, tried, err := play(ctx, at, targets, true)
	if err == nil {
		_, err = chromedp.Call(ctx, fetch.Disable, cdp.Empty{})
	}
	return found, tried, err
}

// result is what the attack got, and how much it tried.
type result struct {
	Got   []string `json:"got"`
	Tried int      `json:"tried"`
}

// play opens the page and runs the attack in it.
func play(tab context.Context, at string, targets map[string]string, ownName bool) ([]string, int, error) {
	arguments, err := json.Marshal(targets)
	if err != nil {
		return nil, 0, err
	}
	if err := chromedp.Do(tab, chromedp.Navigate(at)); err != nil {
		return nil, 0, err
	}
	code := script[strings.Index(script, "async "):]
	got, err := chromedp.Run(tab, chromedp.Evaluate[result](fmt.Sprintf("(%s)(%s, %v)", code, arguments, ownName), chromedp.EvalAwaitPromise))
	return got.Got, got.Tried, err
}
