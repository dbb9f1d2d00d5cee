package admin

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// asWritten names the field at fault as it stands in a REST request.
func asWritten(s *status.Status) *status.Status {
	details := s.Details()
	changed := false
	message := s.Message()
	out := make([]protoadapt.MessageV1, 0, len(details))
	for _, d := range details {
		one, ok := d.(protoadapt.MessageV1)
		if !ok {
			return s
		}
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				for _, prefix := range bodyFields {
					if field, ok := strings.CutPrefix(v.GetField(), prefix); ok {
						message = strings.Replace(message, v.GetField()+": ", field+": ", 1)
						v.Field, changed = field, true
						break
					}
				}
			}
		}
		out = append(out, one)
	}
	if !changed {
		return s
	}
	written, err := status.New(s.Code(), message).WithDetails(out...)
	if err != nil {
		return s
	}
	return written
}
