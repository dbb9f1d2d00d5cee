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

// absenceCodes are the error codes of a 404 that says what is not there: those of
// the distribution-spec ("Error Codes"), and Harbor's.
var absenceCodes = []string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"}

// verdict is the one place that decides what an answer other than 200 means, whatever
// was asked for: an absence, a denial, a limit or an outage. away says that another host
// gave it, to which the registry led; missing is what a 404 says, empty where a 404 says
// nothing about content.
//
// An absence and a denial let other registries answer. They count only if the registry
// itself said so: before it may stand an edge that answers every path alike while the
// registry is away (contract row T1).
func (c *Client) verdict(ctx context.Context, resp *http.Response, away bool, missing fault.Reason) *Error {
	defer discard(resp)
	e := c.outage(nil, "answered with status %d", resp.StatusCode)
	e.Status = resp.StatusCode
	e.RetryAfter = min(retryAfter(resp.Header, time.Now()), c.owner.limits.maxBackOff)
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
		if !away && !c.config.TrustNotFound && c.mayHide(ctx, resp) {
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

// isOwnAnswer says whether a registry gave the answer. One that does not show it by
// itself is believed where the host answers as a registry at /v2/, asked after it.
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

// mayHide says whether the answer says nothing, since it was given to a request without
// the credential that is configured: a registry that asks for a login at /v2/ alone tells
// everyone else that nothing is there. /v2/ is asked after the answer; what it said when
// the registry was away does not count (contract row T2).
func (c *Client) mayHide(ctx context.Context, resp *http.Response) bool {
	if c.config.anonymous() || resp.Request.Header.Get("Authorization") != "" {
		return false
	}
	g, err := c.greet(ctx, c.base)
	if err == nil && len(g.offers) > 0 {
		c.auth.askAgain()
	}
	return err != nil || !g.lasts || len(g.offers) > 0
}

// maxError is what is read of an answer that is not the one hoped for.
const maxError = 64 << 10

// readError reads and closes the body, as far as it comes: what is missing says nothing.
func (c *Client) readError(resp *http.Response) []byte {
	if c.decode(resp, 0) != nil {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	_ = resp.Body.Close()
	return body
}

// errorCodes are those of an error as registries send it (distribution-spec, "Error
// Codes").
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
