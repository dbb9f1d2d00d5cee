package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

func ExampleWrap() {
	err := error(fault.Wrap(io.ErrUnexpectedEOF, fault.Unavailable, fault.UnavailableReason, "the store is not available"))
	fmt.Println("for the log: ", err)
	fmt.Println("for the user:", fault.From(err).Message)
	fmt.Println(fault.Is(err, fault.UnavailableReason), errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// for the log:  UNAVAILABLE: the store is not available: unexpected EOF
	// for the user: the store is not available
	// true true
}

func TestFrom(t *testing.T) {
	denied := fault.New(fault.Denied, fault.DeniedReason, "no")
	for _, c := range []struct {
		err  error
		kind fault.Kind
		says string
	}{
		{denied, fault.Denied, "no"},
		{fmt.Errorf("while pushing: %w", denied), fault.Denied, "no"},
		{context.Canceled, fault.Unavailable, "the request was not finished in time, try again"},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), fault.Unavailable, "the request was not finished in time, try again"},
		{errors.New("password=hunter2"), fault.Internal, "internal error"},
	} {
		e := fault.From(c.err)
		if e.Kind != c.kind || e.Message != c.says || fault.KindOf(c.err) != c.kind || !errors.Is(e, c.err) && !errors.Is(c.err, e) {
			t.Errorf("From(%v) = %+v", c.err, e)
		}
	}
	if fault.From(nil) != nil || fault.Is(nil, fault.DeniedReason) {
		t.Error("no error is not a fault")
	}
}

func TestWithReturnsACopy(t *testing.T) {
	e := fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "wrong offset")
	f := e.WithField("Content-Range").WithDetail(1).WithOffset(7).WithRetryAfter(time.Second)
	if f.Field != "Content-Range" || f.Detail != 1 || f.Offset != 7 || f.RetryAfter != time.Second {
		t.Errorf("%+v", f)
	}
	if *e != *fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "wrong offset") {
		t.Errorf("the original changed: %+v", e)
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := fault.Internal; k <= fault.Full; k++ {
		name := k.String()
		if name == "" || name == "unknown" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		}
		seen[name] = true
		if want := k == fault.Internal || k >= fault.BadUpstream; k.Failure() != want {
			t.Errorf("%s: Failure is %v", name, k.Failure())
		}
	}
	if s := (fault.Full + 1).String(); s != "unknown" {
		t.Errorf("an unknown kind is called %q", s)
	}
}
