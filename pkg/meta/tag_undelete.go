package meta

import (
	"errors"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// TagUndelete is a tag to restore by its history.
type TagUndelete struct {
	Repo    Repo
	Tag     string     // it may be deleted
	Version int64      // what it pointed to from this version on
	Digest  oci.Digest // what it pointed to at some time; without both, before its last change
	By      Cause
}

// Target is what the tag is to point to, by its history, the newest change first.
func (u TagUndelete) Target(changes []TagChange) (oci.Digest, error) {
	switch {
	case len(changes) == 0:
		return "", fault.New(fault.NotFound, fault.ManifestUnknown, "tag %s has no history in this repository", u.Tag)
	case u.Version != 0:
		return u.atVersion(changes)
	case u.Digest != "":
		was := func(c TagChange) bool { return c.Digest == u.Digest || c.Previous == u.Digest }
		if !slices.ContainsFunc(changes, was) {
			return "", fault.New(fault.NotFound, fault.ManifestUnknown, "the history of tag %s does not name %s; :listTagHistory shows what it names", u.Tag, u.Digest)
		}
		return u.Digest, nil
	}
	switch last := changes[0]; {
	case last.Verb == TagUndeleted:
		return "", fault.New(fault.Conflict, fault.AlreadyExists, "the last change of tag %s was an undelete; name a version or a digest of its history", u.Tag)
	case last.Previous == "":
		return "", fault.New(fault.NotFound, fault.ManifestUnknown, "tag %s was not there before its last change; name a version or a digest of its history", u.Tag)
	default:
		return last.Previous, nil
	}
}

func (u TagUndelete) atVersion(changes []TagChange) (oci.Digest, error) {
	i := slices.IndexFunc(changes, func(c TagChange) bool { return c.Version == u.Version })
	switch {
	case i < 0:
		return "", fault.New(fault.NotFound, fault.ManifestUnknown, "the history of tag %s has no version %d; :listTagHistory shows which it has", u.Tag, u.Version)
	case changes[i].Digest == "":
		return "", fault.New(fault.Invalid, fault.RequestInvalid, "version %d deleted tag %s; name one from which on it pointed to a manifest", u.Version, u.Tag)
	default:
		return changes[i].Digest, nil
	}
}

// TagMove is the move of a tag to a manifest that is there.
type TagMove struct {
	Repo   Repo
	Tag    string
	Digest oci.Digest
	Seen   int64 // version of the last change in its history; ErrTagChanged if there is a later one
	By     Cause
}

// ErrTagChanged is the cause of TagChangedSince.
var ErrTagChanged = errors.New("meta: the tag was changed")

// TagChangedSince is the error for moving a tag by what its history was before.
func TagChangedSince(tag string) error {
	return fault.Wrap(ErrTagChanged, fault.Conflict, fault.EtagMismatch, "tag %s was changed at the same time; retry", tag)
}

// GoneForGood is the error for a tag whose manifest is neither there nor in the trash.
func GoneForGood(tag string, d oci.Digest) error {
	return fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s, to which tag %s would point, is gone and not in the trash; push it", d, tag)
}
