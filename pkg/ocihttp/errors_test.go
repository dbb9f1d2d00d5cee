package ocihttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

func TestStatusOfEveryKind(t *testing.T) {
	want := []int{500, 400, 401, 403, 404, 405, 408, 409, 413, 415, 416, 421, 429, 502, 503, 504, 507}
	for k := fault.Internal; k <= fault.Full; k++ {
		if got := ocihttp.Status(k); got != want[k] {
			t.Errorf("Status(%d) = %d, want %d", k, got, want[k])
		}
	}
	if got := ocihttp.Status(fault.Full + 1); got != 500 {
		t.Errorf("Status of no kind = %d", got)
	}
}

func TestWriteErrorBody(t *testing.T) {
	err := fault.New(fault.NotFound, fault.BlobUnknown, "blob not found").WithDetail(map[string]string{"digest": digest})
	answer := writeError(t, http.MethodGet, err, nil)
	var body struct {
		Errors []struct {
			Code, Message string
			Detail        map[string]string
		}
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 {
		t.Fatalf("body %q: %v", answer.Body, err)
	}
	if e := body.Errors[0]; e.Code != "BLOB_UNKNOWN" || e.Message != "blob not found" || e.Detail["digest"] != digest {
		t.Errorf("body %q", answer.Body)
	}
	if answer.Code != 404 || answer.Header().Get("Content-Type") != "application/json" || answer.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
}

func TestWriteErrorToHead(t *testing.T) {
	answer := writeError(t, http.MethodHead, fault.New(fault.NotFound, fault.ManifestUnknown, "none"), nil)
	if answer.Code != 404 || answer.Body.Len() != 0 {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}

func TestWriteErrorHeaders(t *testing.T) {
	offset := fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "wrong offset")
	unavailable := fault.Down(errors.New("dial"), "the database")
	for _, test := range []struct {
		name   string
		err    error
		before http.Header
		want   http.Header
	}{
		{"too many", fault.New(fault.TooMany, fault.TooManyRequests, "slow down").WithRetryAfter(1500 * time.Millisecond), nil, http.Header{"Retry-After": {"2"}}},
		{"unavailable by default", unavailable, nil, http.Header{"Retry-After": {"1"}}},
		{"unavailable", unavailable.WithRetryAfter(time.Minute), nil, http.Header{"Retry-After": {"60"}}},
		{"no wait", fault.New(fault.NotFound, fault.BlobUnknown, "none").WithRetryAfter(time.Minute), nil, http.Header{"Retry-After": nil, "Range": nil}},
		{"offset", offset.WithOffset(1024), nil, http.Header{"Range": {"0-1023"}}},
		{"offset 0", offset, nil, http.Header{"Range": {"0-0"}}},
		{"range of a blob", offset, http.Header{"Content-Range": {"bytes */7"}}, http.Header{"Content-Range": {"bytes */7"}, "Range": nil}},
		{
			"headers of the caller", fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "log in"),
			http.Header{"Www-Authenticate": {"Bearer x"}, "Docker-Distribution-Api-Version": {"registry/2.0"}, "Content-Encoding": {"gzip"}, "Content-Type": {"text/html"}},
			http.Header{"Www-Authenticate": {"Bearer x"}, "Docker-Distribution-Api-Version": {"registry/2.0"}, "Content-Encoding": nil, "Content-Type": {"application/json"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := writeError(t, http.MethodPatch, test.err, test.before).Header()
			for name, want := range test.want {
				if fmt.Sprint(got[name]) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", name, got[name], want)
				}
			}
		})
	}
}

// TestWriteErrorKeepsSecrets: a cause is for operators only.
func TestWriteErrorKeepsSecrets(t *testing.T) {
	secret := errors.New("password=hunter2 at /var/lib/berth")
	for _, err := range []error{
		secret,
		fmt.Errorf("wrapped: %w", secret),
		fault.Wrap(secret, fault.Internal, fault.InternalReason, "internal error"),
		fault.Down(secret, "the database"),
		fmt.Errorf("hunter2: %w", fault.Wrap(secret, fault.Invalid, fault.ManifestInvalid, "bad manifest")),
		nil,
	} {
		answer := writeError(t, http.MethodGet, err, nil)
		if all := fmt.Sprint(answer.Body, answer.Header()); strings.Contains(all, "hunter2") || strings.Contains(all, "/var/lib") {
			t.Errorf("%v leaks: %s", err, all)
		}
		if answer.Code < 400 || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%v: %d %q", err, answer.Code, answer.Body)
		}
	}
}

// TestWriteErrorOfOddInput: what a user sent may stand in a message.
func TestWriteErrorOfOddInput(t *testing.T) {
	answer := writeError(t, http.MethodGet, fault.New(fault.Invalid, fault.NameInvalid, "name \xff\x00<script>"), nil)
	if !json.Valid(answer.Body.Bytes()) || strings.Contains(answer.Body.String(), "<script>") {
		t.Errorf("body %q", answer.Body)
	}
	answer = writeError(t, http.MethodGet, fault.New(fault.Invalid, fault.NameInvalid, "name").WithDetail(func() {}), nil)
	if got := answer.Body.String(); got != `{"errors":[{"code":"NAME_INVALID","message":"name"}]}`+"\n" {
		t.Errorf("with a detail that has no JSON: %q", got)
	}
}

func writeError(t *testing.T, method string, err error, before http.Header) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	for name, values := range before {
		answer.Header()[name] = values
	}
	ocihttp.WriteError(answer, httptest.NewRequest(method, "/v2/", nil), err)
	return answer
}

// TestD5_EncodedBodies: an encoded body is refused before a byte is read.
func TestD5_EncodedBodies(t *testing.T) {
	for _, values := range [][]string{nil, {""}, {"identity"}, {"Identity"}, {"identity, identity"}, {"identity", "identity"}} {
		r := httptest.NewRequest(http.MethodPatch, "/v2/", nil)
		r.Header["Content-Encoding"] = values
		if err := ocihttp.CheckContentEncoding(r); err != nil {
			t.Errorf("%q: %v", values, err)
		}
	}
	for _, values := range [][]string{
		{"gzip"}, {"GZIP"}, {"deflate"}, {"br"}, {"zstd"}, {"compress"}, {"x-gzip"}, {"aws-chunked"}, {"identity, gzip"}, {"gzip,identity"}, {"identity", "gzip"}, {"*"}, {"x"},
	} {
		r := httptest.NewRequest(http.MethodPatch, "/v2/", nil)
		r.Header["Content-Encoding"] = values
		err := ocihttp.CheckContentEncoding(r)
		if err == nil || ocihttp.Status(fault.KindOf(err)) != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %v; want 415", values, err)
		}
	}
}

func ExampleWriteError() {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v2/app/manifests/v2", nil)
	ocihttp.WriteError(w, r, fault.New(fault.NotFound, fault.ManifestUnknown, "there is no manifest %q", "v2"))
	fmt.Println(w.Code, w.Body)
	// Output: 404 {"errors":[{"code":"MANIFEST_UNKNOWN","message":"there is no manifest \"v2\""}]}
}

// A 4xx code is one of a closed list ("Error Codes"); Berth's own reasons go into
// the detail.
func TestWriteErrorMapsOwnReasons(t *testing.T) {
	for _, c := range []struct {
		err  *fault.Error
		want string
	}{
		{fault.New(fault.Invalid, fault.TagInvalid, "m"), `{"errors":[{"code":"MANIFEST_INVALID","message":"m","detail":{"reason":"TAG_INVALID"}}]}`},
		{fault.New(fault.NotFound, fault.TagInvalid, "m"), `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m","detail":{"reason":"TAG_INVALID"}}]}`},
		{fault.New(fault.Invalid, fault.RequestInvalid, "m"), `{"errors":[{"code":"UNSUPPORTED","message":"m","detail":{"reason":"REQUEST_INVALID"}}]}`},
		{fault.New(fault.NotFound, fault.HostUnknown, "m"), `{"errors":[{"code":"NAME_UNKNOWN","message":"m","detail":{"reason":"HOST_UNKNOWN"}}]}`},
		{fault.New(fault.Denied, fault.QuotaExceeded, "m").WithDetail("quota exceeded"), `{"errors":[{"code":"DENIED","message":"m","detail":"quota exceeded"}]}`},
	} {
		w := httptest.NewRecorder()
		ocihttp.WriteError(w, httptest.NewRequest("GET", "/v2/", nil), c.err)
		if got := w.Body.String(); got != c.want+"\n" {
			t.Errorf("%v: body %s, want %s", c.err, got, c.want)
		}
	}
}

// A client that left is no failure of Berth, whatever the answer would have been; an end
// that is ours is one.
func TestS18_ClientsThatLeaveAreNoFailures(t *testing.T) {
	for want, left := range map[string]bool{"499": true, "503": false} {
		reg := prometheus.NewRegistry()
		h := web.Middleware{
			Listener: "data", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(reg),
		}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ocihttp.WriteError(w, r, fault.Down(fmt.Errorf("ask: %w", context.Canceled), "the store"))
		}))
		ctx, leave := context.WithCancel(t.Context())
		if left {
			leave()
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v2/", nil).WithContext(ctx))
		leave()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "berth_http_errors_total" {
				continue
			}
			for _, l := range f.GetMetric()[0].GetLabel() {
				if l.GetName() == "status" && l.GetValue() != want {
					t.Errorf("counted as %s, want %s", l.GetValue(), want)
				}
			}
		}
	}
}
