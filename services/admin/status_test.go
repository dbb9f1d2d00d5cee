package admin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestToStatus(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code codes.Code
	}{
		{fault.New(fault.Invalid, fault.RequestInvalid, "m"), codes.InvalidArgument},
		{fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "m"), codes.Unauthenticated},
		{fault.New(fault.Denied, fault.DeniedReason, "m"), codes.PermissionDenied},
		{fault.New(fault.NotFound, fault.ResourceUnknown, "m"), codes.NotFound},
		{fault.New(fault.Conflict, fault.AlreadyExists, "m"), codes.AlreadyExists},
		{fault.New(fault.Conflict, fault.NameQuarantined, "m"), codes.AlreadyExists},
		{fault.New(fault.Conflict, fault.EtagMismatch, "m"), codes.Aborted},
		{fault.New(fault.Conflict, reasonMain, "m"), codes.FailedPrecondition},
		{fault.Down(errors.New("disk"), "the store"), codes.Unavailable},
		{context.DeadlineExceeded, codes.Unavailable},
		{errors.New("a defect"), codes.Internal},
	} {
		s := toStatus(t.Context(), slog.New(slog.DiscardHandler), tc.err)
		info, ok := s.Details()[0].(*errdetails.ErrorInfo)
		if s.Code() != tc.code || !ok || info.GetDomain() != "berth" || info.GetReason() != string(fault.From(tc.err).Reason) {
			t.Errorf("%v: %v %v", tc.err, s.Code(), s.Details())
		}
	}
}

func TestToStatusKeepsCausesInTheLog(t *testing.T) {
	var log bytes.Buffer
	err := fault.Down(errors.New("secret cause"), "the store").WithRetryAfter(3 * time.Second)
	s := toStatus(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), err)
	if text := s.Proto().String(); strings.Contains(text, "secret cause") {
		t.Errorf("the cause leaves the process: %s", text)
	}
	if !strings.Contains(log.String(), "secret cause") {
		t.Errorf("the log has no cause: %s", log.String())
	}
	if retryAfter(s) != 3 {
		t.Errorf("retry after %d s", retryAfter(s))
	}
}

func TestToStatusNamesTheField(t *testing.T) {
	s := toStatus(t.Context(), slog.New(slog.DiscardHandler), invalid("tenant_id", "bad"))
	bad, ok := s.Details()[1].(*errdetails.BadRequest)
	if !ok || bad.GetFieldViolations()[0].GetField() != "tenant_id" {
		t.Errorf("details %v", s.Details())
	}
}

func TestRecoveredMakesAPanicAnError(t *testing.T) {
	_, err := recovered(func() (any, error) { panic("boom") })
	f := fault.From(err)
	if f == nil || f.Kind != fault.Internal || strings.Contains(f.Message, "boom") || !strings.Contains(err.Error(), "boom") {
		t.Errorf("recovered: %v", err)
	}
}
