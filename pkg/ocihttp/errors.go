package ocihttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// defaultRetryAfter is the Retry-After of 429 and 503 if the fault has none.
const defaultRetryAfter = time.Second

// Status is the HTTP status of a kind; 500 for an unknown kind.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Unsupported:
		return http.StatusMethodNotAllowed
	case fault.TooSlow:
		return http.StatusRequestTimeout
	case fault.Conflict:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.MediaType:
		return http.StatusUnsupportedMediaType
	case fault.OutOfRange:
		return http.StatusRequestedRangeNotSatisfiable
	case fault.Misdirected:
		return http.StatusMisdirectedRequest
	case fault.TooMany:
		return http.StatusTooManyRequests
	case fault.BadUpstream:
		return http.StatusBadGateway
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.UpstreamTimeout:
		return http.StatusGatewayTimeout
	case fault.Full:
		return http.StatusInsufficientStorage
	default:
		return http.StatusInternalServerError
	}
}

// errorBody is the body of the spec ("Error Codes").
type errorBody struct {
	*OAuthError
	Errors []errorEntry `json:"errors"`
}

// OAuthError is an error of the token endpoint for OAuth 2 clients, beside the body of the
// spec (RFC 6749 section 5.2).
type OAuthError struct {
	Cause       error  `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// Error is that of the cause.
func (o *OAuthError) Error() string { return o.Cause.Error() }

// Unwrap returns the cause.
func (o *OAuthError) Unwrap() error { return o.Cause }

type errorEntry struct {
	Code    fault.Reason `json:"code"`
	Message string       `json:"message"`
	Detail  any          `json:"detail,omitempty"`
}

// WriteError responds with err: the status of its kind and the error body of the spec, without a
// body for HEAD. It passes the reason to the access log, but never the cause: log that before.
// Nothing may have been written to w yet; headers set on it stay, except those that describe
// another body.
//
// 429 and 503 have Retry-After (1 s if the fault has none). 416 and 408 have the
// true offset of the upload in Range, unless Content-Range says that a read was out
// of range. Messages for people are also in Warning.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.From(err)
	if e == nil {
		e = fault.New(fault.Internal, fault.InternalReason, "internal error")
	}
	h := w.Header()
	switch e.Kind {
	case fault.TooMany, fault.Unavailable, fault.Full:
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	case fault.OutOfRange:
		if h.Get("Content-Range") == "" {
			h.Set("Range", FormatUploadRange(e.Offset))
		}
	case fault.TooSlow:
		if r.ProtoMajor == 1 {
			h.Set("Connection", "close") // the rest of the body is not read
		}
		if e.Offset > 0 {
			h.Set("Range", FormatUploadRange(e.Offset))
		}
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		web.SetClientLeft(r.Context())
		web.SetRefusal(r.Context(), web.Refusal{Code: "CLIENT_LEFT", Detail: "the client left before there was an answer"})
	} else {
		web.SetRefusal(r.Context(), RefusalOf(e))
	}
	if text := warning(e); text != "" {
		h.Set("Warning", text)
	}
	var oauth *OAuthError
	_ = errors.As(err, &oauth) // else nil
	body := encodeError(e, oauth)
	h.Del("Content-Encoding")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(Status(e.Kind))
	if r.Method != http.MethodHead {
		// If this fails, the client has left.
		_, _ = w.Write(body)
	}
}

func encodeError(e *fault.Error, oauth *OAuthError) []byte {
	entry := errorEntry{Code: e.Reason, Message: e.Message, Detail: e.Detail}
	if code, ours := specCode(e); ours {
		entry.Code = code
		if entry.Detail == nil {
			entry.Detail = map[string]fault.Reason{"reason": e.Reason}
		}
	}
	body, err := json.Marshal(errorBody{oauth, []errorEntry{entry}})
	if err != nil { // only a detail can fail; all else is strings
		entry.Detail = nil
		body, _ = json.Marshal(errorBody{oauth, []errorEntry{entry}})
	}
	return append(body, '\n')
}

// RefusalOf is the log entry of an error: what the client receives, with the reason
// in the detail, if any.
func RefusalOf(err error) web.Refusal {
	e := fault.From(err)
	if e == nil {
		return web.Refusal{}
	}
	code, _ := specCode(e)
	r := web.Refusal{Code: string(code), Reason: string(e.Reason), Detail: e.Message}
	if e.Detail == nil {
		return r
	}
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return r
	}
	r.Detail += " " + string(detail)
	var given struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(detail, &given) == nil && given.Reason != "" {
		r.Reason = given.Reason
	}
	return r
}

// specCode is the spec's code for one of Berth's own reasons in a 4xx response
// ("Error Codes" is a closed list); Berth's reason goes into the detail.
func specCode(e *fault.Error) (fault.Reason, bool) {
	switch e.Reason {
	case fault.TagInvalid:
		if e.Kind == fault.NotFound {
			return fault.ManifestUnknown, true // no manifest can have such a tag
		}
		return fault.ManifestInvalid, true
	case fault.RequestInvalid, fault.RequestTimeout:
		return fault.UnsupportedReason, true
	case fault.HostUnknown, fault.ResourceUnknown:
		return fault.NameUnknown, true
	case fault.QuotaExceeded:
		return fault.DeniedReason, true
	default:
		return e.Reason, false
	}
}

// retryAfter is d in whole seconds, rounded up: an early retry is refused again.
func retryAfter(d time.Duration) string {
	if d <= 0 {
		d = defaultRetryAfter
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
