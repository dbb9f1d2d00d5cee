package admin

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/berth-registry/berth/pkg/fault"
)

// merge copies the fields that the mask names from one message to another of
// the same type. Only mutable fields are copied; a mask may name the others, so
// that what was read can be sent back. No mask means the fields that are set,
// "*" all (AIP-134).
func merge(dst, src proto.Message, mask *fieldmaskpb.FieldMask, mutable []string) error {
	from, to := src.ProtoReflect(), dst.ProtoReflect()
	fields := from.Descriptor().Fields()
	paths := mask.GetPaths()
	switch {
	case slices.Equal(paths, []string{""}): // REST makes this of an empty body
		return fault.New(fault.Invalid, fault.RequestInvalid, "nothing to change: give a field to set or update_mask")
	case len(paths) == 0:
		paths = slices.DeleteFunc(slices.Clone(mutable), func(p string) bool {
			return !from.Has(fields.ByName(protoreflect.Name(p)))
		})
	case slices.Contains(paths, "*"):
		if len(paths) > 1 {
			return invalid("update_mask", `"*" stands alone`)
		}
		paths = mutable
	}
	for _, path := range paths {
		top, _, nested := strings.Cut(path, ".")
		field := fields.ByName(protoreflect.Name(top))
		if field == nil || nested && field.Kind() != protoreflect.MessageKind {
			return unknownField("update_mask", path, mutable)
		}
		if !slices.Contains(mutable, path) {
			continue
		}
		if from.Has(field) {
			to.Set(field, from.Get(field))
		} else {
			to.Clear(field)
		}
	}
	return nil
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
