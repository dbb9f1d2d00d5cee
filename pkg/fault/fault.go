// Package fault is the one error type of Berth: a closed set of kinds, a
// machine-readable reason, a message that is safe for users and a cause that
// is for operators only.
//
// Every border maps it once: ocihttp to the OCI error body, the admin service
// to google.rpc.Status. An error that is not a *Error is Internal.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind says what went wrong in the widest terms; borders map it to a status.
type Kind uint8

// The kinds, with the HTTP status each becomes.
const (
	Internal        Kind = iota // 500: a defect of Berth; never from input alone
	Invalid                     // 400: the input can never be right
	Unauthenticated             // 401: no or no valid credential
	Denied                      // 403: known caller, not allowed
	NotFound                    // 404: authoritative absence
	Unsupported                 // 405: the operation is not supported here
	TooSlow                     // 408: the client stopped sending, or nearly
	Conflict                    // 409: exists already, or changed meanwhile
	TooLarge                    // 413: over a stated limit
	MediaType                   // 415: an encoding or type we do not take
	OutOfRange                  // 416: wrong offset or range
	Misdirected                 // 421: the connection is for another host
	TooMany                     // 429: slow down; see RetryAfter
	BadUpstream                 // 502: an upstream answered wrongly
	Unavailable                 // 503: a dependency is down; see RetryAfter
	UpstreamTimeout             // 504: an upstream did not answer in time
	Full                        // 507: the storage has no room; see RetryAfter
)

// Reason is the machine-readable cause. The values are the error codes of the
// OCI distribution spec ("Error Codes"), and ours in the same style.
type Reason string

// The reasons of the spec.
const (
	BlobUnknown         Reason = "BLOB_UNKNOWN"          // the repository has no such blob
	BlobUploadInvalid   Reason = "BLOB_UPLOAD_INVALID"   // the upload cannot be continued like this
	BlobUploadUnknown   Reason = "BLOB_UPLOAD_UNKNOWN"   // the upload is not in this repository, or has ended
	DigestInvalid       Reason = "DIGEST_INVALID"        // the digest is malformed, or the content does not have it
	ManifestBlobUnknown Reason = "MANIFEST_BLOB_UNKNOWN" // the manifest names a blob or a manifest that the repository does not have
	ManifestInvalid     Reason = "MANIFEST_INVALID"      // the manifest is not one that every reader understands alike
	ManifestUnknown     Reason = "MANIFEST_UNKNOWN"      // the repository has no such manifest or tag
	NameInvalid         Reason = "NAME_INVALID"          // the name is not that of a repository
	NameUnknown         Reason = "NAME_UNKNOWN"          // repository not found, or the caller may not pull from it
	SizeInvalid         Reason = "SIZE_INVALID"          // the body does not have the length it was declared with
	UnauthorizedReason  Reason = "UNAUTHORIZED"          // a credential is missing, wrong or expired
	DeniedReason        Reason = "DENIED"                // the caller is known and may not do this
	UnsupportedReason   Reason = "UNSUPPORTED"           // the operation is not possible here, or not in this state
	TooManyRequests     Reason = "TOOMANYREQUESTS"       // slow down; the header Retry-After says until when
)

// Reasons the spec has no word for.
const (
	HostUnknown       Reason = "HOST_UNKNOWN"       // the host leads to no registry
	RequestTimeout    Reason = "REQUEST_TIMEOUT"    // the client stopped sending, or nearly; send it again
	TagInvalid        Reason = "TAG_INVALID"        // the tag is malformed
	RequestInvalid    Reason = "REQUEST_INVALID"    // a part of the request is malformed; the message names it
	PageTokenInvalid  Reason = "PAGE_TOKEN_INVALID" // the page token is not one that this list gave
	AlreadyExists     Reason = "ALREADY_EXISTS"     // a resource with this ID already exists
	NotPromotable     Reason = "NOT_PROMOTABLE"     // the image lacks something that its promotion needs; the message says what
	InUse             Reason = "IN_USE"             // another resource names this one
	NotEmpty          Reason = "NOT_EMPTY"          // it has content; deleting it with that needs force
	ResourceUnknown   Reason = "RESOURCE_UNKNOWN"   // resource not found
	EtagMismatch      Reason = "ETAG_MISMATCH"      // the resource was modified; fetch it and retry
	QuotaExceeded     Reason = "QUOTA_EXCEEDED"     // a quota of the tenant or of the registry has no room for it
	LimitReached      Reason = "TOO_MANY_RESOURCES" // there are as many of these as there may be; the message names the setting
	NameQuarantined   Reason = "NAME_QUARANTINED"   // the name of a deleted tenant is still reserved
	UnavailableReason Reason = "UNAVAILABLE"        // something that Berth depends on does not answer; try again
	Busy              Reason = "BUSY"               // more waited for something that Berth depends on than could be served; the header Retry-After says when to try again
	StorageFull       Reason = "STORAGE_FULL"       // the disk of this registry is full; its operator has to make room
	InternalReason    Reason = "INTERNAL"           // a defect of Berth; the log has the cause under the request id
)

// Error is a failure with all that a border needs to answer it. Make one with
// New or Wrap and refine it with the With methods, which return a copy.
type Error struct {
	Kind    Kind
	Reason  Reason
	Message string // safe for users: what happened, which input, what to do

	Field      string        // the input field at fault, for field violations; may be empty
	Detail     any           // JSON-encodable detail for the OCI error body; may be nil
	Offset     int64         // OutOfRange on an upload: the true number of stored bytes
	RetryAfter time.Duration // TooMany and Unavailable: when to come back; 0 = the border's default
	Warn       bool          // people should read Message, although clients expect errors of this kind

	cause error // operators only; never leaves the process
}

// New makes an error without a cause. A message that quotes too much is clipped.
func New(k Kind, r Reason, format string, args ...any) *Error {
	return &Error{Kind: k, Reason: r, Message: Clip(fmt.Sprintf(format, args...))}
}

// Wrap makes an error with a cause for the operators' log. The message must
// not repeat the cause.
func Wrap(cause error, k Kind, r Reason, format string, args ...any) *Error {
	e := New(k, r, format, args...)
	e.cause = cause
	return e
}

// Down says that a dependency did not answer: 503 with Retry-After, never 404
// and never 401.
func Down(cause error, what string) *Error {
	return Wrap(cause, Unavailable, UnavailableReason, "%s is unavailable; retry later", what)
}

// Error is for logs: it contains the cause.
func (e *Error) Error() string {
	if e.cause == nil {
		return string(e.Reason) + ": " + e.Message
	}
	return string(e.Reason) + ": " + e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// WithField returns a copy that names the input field at fault.
func (e *Error) WithField(f string) *Error { c := *e; c.Field = Clip(f); return &c }

// WithDetail returns a copy with a detail for the OCI error body, whose texts are clipped.
func (e *Error) WithDetail(d any) *Error { c := *e; c.Detail = clipDetail(d); return &c }

// WithOffset returns a copy that carries the true offset of an upload in bytes.
func (e *Error) WithOffset(n int64) *Error { c := *e; c.Offset = n; return &c }

// WithRetryAfter returns a copy that says when to come back.
func (e *Error) WithRetryAfter(d time.Duration) *Error { c := *e; c.RetryAfter = d; return &c }

// WithWarning returns a copy whose message people should read.
func (e *Error) WithWarning() *Error { c := *e; c.Warn = true; return &c }

// From finds the *Error in err's chain. Cancelled and timed-out contexts become
// Unavailable; everything else is Internal with a message that says nothing.
func From(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Wrap(err, Unavailable, UnavailableReason, "the request was not finished in time, try again")
	default:
		return Wrap(err, Internal, InternalReason, "internal error")
	}
}

// Is says whether err carries the given reason.
func Is(err error, r Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == r
}

// KindOf returns the kind of err; Internal when it carries none.
func KindOf(err error) Kind {
	if err == nil {
		return Internal
	}
	return From(err).Kind
}

// Failure says that we, or something we depend on, failed: operators want to
// know. All other kinds are answers to what the caller asked.
func (k Kind) Failure() bool {
	switch k {
	case Internal, BadUpstream, Unavailable, UpstreamTimeout, Full:
		return true
	default:
		return false
	}
}

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Denied: "denied",
	NotFound: "not_found", Unsupported: "unsupported", TooSlow: "too_slow", Conflict: "conflict", TooLarge: "too_large",
	MediaType: "media_type", OutOfRange: "out_of_range", Misdirected: "misdirected", TooMany: "too_many",
	BadUpstream: "bad_upstream", Unavailable: "unavailable", UpstreamTimeout: "upstream_timeout", Full: "full",
}

// String is the kind's name in metrics and logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// MaxText is the most bytes of a text from outside in an error, a line of the log, an
// event or a span. What clients and other servers send may be of any length.
const MaxText = 1 << 10

// Clip shortens a text that is longer than MaxText, and says by how much.
func Clip(text string) string { return ClipTo(text, MaxText) }

// ClipTo is Clip for another length.
func ClipTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	kept := strings.ToValidUTF8(text[:most], "")
	return kept + "… (" + strconv.Itoa(len(text)-len(kept)) + " bytes more)"
}

// clipDetail is Clip for the details that hold texts.
func clipDetail(d any) any {
	switch v := d.(type) {
	case string:
		return Clip(v)
	case map[string]string:
		short := make(map[string]string, len(v))
		for key, text := range v {
			short[key] = Clip(text)
		}
		return short
	}
	return d
}
