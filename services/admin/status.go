package admin

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/berth-registry/berth/pkg/fault"
)

// errorDomain is the domain of all ErrorInfo details.
const errorDomain = "berth"

// Reasons of this API alone.
const (
	reasonMain       fault.Reason = "REGISTRY_IS_MAIN"
	reasonUnverified fault.Reason = "DOMAIN_RECORD_MISSING"
)

// toStatus is the one mapping of errors at this border: google.rpc.Status with
// an ErrorInfo and, where a field is at fault, its violation. What is ours to
// mend is logged with its cause, which does not leave the process.
func toStatus(ctx context.Context, log *slog.Logger, err error) *status.Status {
	if clientLeft(ctx, err) {
		return status.New(codeOf(ctx, err), "the client left before there was an answer")
	}
	f := fault.From(err)
	if f.Kind.Failure() {
		log.ErrorContext(ctx, "the admin API failed", "error", err)
	}
	info := &errdetails.ErrorInfo{Reason: string(f.Reason), Domain: errorDomain}
	if fields, ok := f.Detail.(map[string]string); ok {
		info.Metadata = fields
	}
	details := []protoadapt.MessageV1{info}
	if f.Field != "" {
		what, _, _ := strings.Cut(f.Message, knownFields) // the list stands once, in the message
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: f.Field, Description: what, Reason: string(f.Reason)},
		}})
	}
	if f.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	message := f.Message
	if f.Field != "" {
		message = f.Field + ": " + message
	}
	s := status.New(code(f), message)
	detailed, err := s.WithDetails(details...)
	if err != nil {
		log.ErrorContext(ctx, "an error's details cannot be encoded", "error", err)
		return s
	}
	return detailed
}

// clientLeft says whether the call ended with err because its client waits no longer:
// no failure of Berth.
func clientLeft(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err()) && !tooSlow(ctx)
}

// codeOf is the code of a call that ended with err.
func codeOf(ctx context.Context, err error) codes.Code {
	switch {
	case err == nil:
		return codes.OK
	case clientLeft(ctx, err):
		return status.FromContextError(ctx.Err()).Code()
	}
	return code(fault.From(err))
}

func code(f *fault.Error) codes.Code {
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.MediaType, fault.OutOfRange:
		return codes.InvalidArgument
	case fault.TooSlow:
		return codes.DeadlineExceeded
	case fault.Unauthenticated:
		return codes.Unauthenticated
	case fault.Denied, fault.Misdirected:
		return codes.PermissionDenied
	case fault.NotFound:
		return codes.NotFound
	case fault.Unsupported:
		return codes.Unimplemented
	case fault.Conflict:
		switch f.Reason {
		case fault.EtagMismatch:
			return codes.Aborted
		case fault.AlreadyExists, fault.NameQuarantined:
			return codes.AlreadyExists
		default:
			return codes.FailedPrecondition
		}
	case fault.TooMany, fault.Full:
		return codes.ResourceExhausted
	case fault.Unavailable, fault.BadUpstream, fault.UpstreamTimeout:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}
