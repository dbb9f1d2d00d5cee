package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// absenceCodes are the error codes of an authoritative 404: those of the
// distribution-spec ("Error Codes"), and Harbor's.
var absenceCodes = []string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"}

// verdict is the one place that classifies every response other than 200: as an absence,
// a denial, a limit or an outage. away says that it is of another host, after a
// redirect; missing is the reason of a 404, empty if a 404 says nothing about content.
//
// After an absence or a denial other registries may be asked. Both count only if the
// registry itself sent them: while it is down, an edge before it may answer every path
// alike (contract row T1).
func (c *Client) verdict(ctx context.Context, resp *http.Response, away bool, missing fault.Reason) *Error {
	defer discard(resp)
	e := c.outage(nil, "answered with status %d", resp.StatusCode)
	e.Status = resp.StatusCode
	e.RetryAfter = min(retryAfter(resp.Header, time.Now()), c.limits.maxBackOff)
	content := missing != ""
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests:
		c.rateLimited(e)
	case status >= 500:
		e.broken = status != http.StatusNotImplemented
		e.Timeout = status == http.StatusGatewayTimeout
	case status == http.StatusNotFound && content:
		if (away || !c.config.TrustNotFound) && !c.isOwnAnswer(ctx, resp) {
			e.Message = fmt.Sprintf("upstream %q answered with status 404, and nothing shows that a registry did: "+
				"if that is how it says that something is not there, set its not_found to TRUST", c.config.Upstream)
			break
		}
		if !away && !c.config.TrustNotFound && c.hidesAbsence(ctx, resp) {
			e.Message = fmt.Sprintf("upstream %q answered with status 404 to a request without its credential, and its /v2/ asks for one or fails: "+
				"if it needs none for what it has, set its not_found to TRUST", c.config.Upstream)
			break
		}
		e.Outcome, e.reason = NotHere, missing
		e.Message = fmt.Sprintf("upstream %q does not have it", c.config.Upstream)
	case !away && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		if content && c.isOwnAnswer(ctx, resp) || !content && !isPage(resp.Header, c.readError(resp)) {
			c.denied(e)
		}
	}
	return e
}

// isOwnAnswer reports whether a registry sent the response. If the response does
// not show that, a request to /v2/ after it decides.
func (c *Client) isOwnAnswer(ctx context.Context, resp *http.Response) bool {
	body := c.readError(resp)
	codes := errorCodes(body)
	switch {
	case resp.StatusCode == http.StatusNotFound && slices.ContainsFunc(codes, func(code string) bool { return slices.Contains(absenceCodes, code) }):
		return true
	case resp.StatusCode != http.StatusNotFound && (len(codes) > 0 || offersLogin(resp.Header)):
		return true
	case resp.Header.Get("Docker-Distribution-Api-Version") == "registry/2.0" && !isPage(resp.Header, body):
		return true
	default:
		g, err := c.greet(ctx, resp.Request.URL)
		return err == nil && g.isRegistry
	}
}

// hidesAbsence reports whether the response means nothing because the request lacked the
// configured credential: some registries require a login only at /v2/, and otherwise hide
// everything from anonymous clients. It asks /v2/ after the response; a greeting during
// an outage does not count (contract row T2). If /v2/ requires the login now, the next
// request begins with it.
func (c *Client) hidesAbsence(ctx context.Context, resp *http.Response) bool {
	if c.config.anonymous() || resp.Request.Header.Get("Authorization") != "" {
		return false
	}
	g, err := c.greet(ctx, c.base)
	if err != nil || !g.lasts {
		return true
	}
	if len(g.offers) == 0 {
		return false
	}
	c.auth.askAgain()
	return true
}

// maxError bounds the bytes read of an error response.
const maxError = 64 << 10

// readError reads and closes the body, which may be cut short.
func (c *Client) readError(resp *http.Response) []byte {
	if c.decode(resp, 0) != nil {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	_ = resp.Body.Close()
	return body
}

// errorCodes are the codes in a registry's error response (distribution-spec,
// "Error Codes").
func errorCodes(body []byte) []string {
	var said struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil
	}
	var codes []string
	for _, e := range said.Errors {
		if e.Code != "" {
			codes = append(codes, e.Code)
		}
	}
	return codes
}
