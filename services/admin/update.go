package admin

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

// merge copies the fields that the mask names from one message of a resource to
// another. No mask means the fields that are set, "*" all that clients may set
// (AIP-134). Output-only fields count for nothing, so that what was read can be sent
// back (AIP-203), unless there is nothing else. noun is the resource in the request.
func merge(noun string, dst, src proto.Message, mask *fieldmaskpb.FieldMask) error {
	from, to := src.ProtoReflect(), dst.ProtoReflect()
	fields, settable := from.Descriptor().Fields(), settableFields(from.Descriptor())
	paths := mask.GetPaths()
	switch {
	case slices.Equal(paths, []string{""}): // REST makes this of an empty body
		return fault.New(fault.Invalid, fault.RequestInvalid, "nothing to change: give a field to set or update_mask")
	case len(paths) == 0:
		paths = given(from)
	case slices.Contains(paths, "*"):
		if len(paths) > 1 {
			return invalid("update_mask", `"*" stands alone`)
		}
		paths = settable
	}
	copied, ignored := 0, ""
	for _, path := range paths {
		top, _, nested := strings.Cut(path, ".")
		field := fields.ByName(protoreflect.Name(top))
		if field == nil || nested && field.Kind() != protoreflect.MessageKind {
			return unknownField("update_mask", path, settable)
		}
		if outputOnly(field) {
			ignored = top
		}
		if nested && slices.Contains(settable, top) && isPart(field) {
			if err := mergePart(to, from, field, path, path); err != nil {
				return err
			}
			copied++
		}
		if !slices.Contains(settable, path) {
			continue
		}
		copied++
		copyField(to, from, field)
	}
	if copied == 0 && ignored != "" {
		return invalid(noun+"."+ignored, "this field is output only and cannot be set; give a field that can: %s", strings.Join(settable, ", "))
	}
	return nil
}

// isPart reports whether a field is a message of this API, whose fields are changed one by one.
func isPart(f protoreflect.FieldDescriptor) bool {
	return f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && f.Message().ParentFile().Package() == pb.File_berth_admin_v1_admin_proto.Package()
}

// mergePart copies the field of a part, or of a part of that, which the path names. mask is
// the whole path.
func mergePart(to, from protoreflect.Message, part protoreflect.FieldDescriptor, path, mask string) error {
	path = strings.TrimPrefix(path, string(part.Name())+".")
	top, _, nested := strings.Cut(path, ".")
	fields := settableFields(part.Message())
	field := part.Message().Fields().ByName(protoreflect.Name(top))
	switch {
	case field == nil, nested && !isPart(field):
		return unknownField("update_mask", mask, fields)
	case !slices.Contains(fields, top):
		return nil
	case nested:
		return mergePart(to.Mutable(part).Message(), from.Get(part).Message(), field, path, mask)
	default:
		copyField(to.Mutable(part).Message(), from.Get(part).Message(), field)
		return nil
	}
}

func copyField(to, from protoreflect.Message, field protoreflect.FieldDescriptor) {
	if from.Has(field) {
		to.Set(field, from.Get(field))
	} else {
		to.Clear(field)
	}
}

// given are the fields that are set, but for the name, which says what to change.
func given(m protoreflect.Message) []string {
	var names []string
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); m.Has(f) && f.Name() != "name" {
			names = append(names, string(f.Name()))
		}
	}
	return names
}

// etag is the version of a resource as clients see it.
func etag(version int64) string { return strconv.FormatInt(version, 10) }

// checkEtag compares the etag that the client has seen, if it sent one, with
// the version there is.
func checkEtag(seen string, version int64) error {
	if seen != "" && seen != etag(version) {
		return fault.New(fault.Conflict, fault.EtagMismatch, "the resource was modified; fetch it and retry (its etag is %q now)", etag(version)).WithField("etag")
	}
	return nil
}
