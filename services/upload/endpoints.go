package upload

import (
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// rules are the required rights. An operation without a rule does not start.
// MountBlob also checks that the caller may pull from the source.
var rules = map[string]front.Rule{
	"StartUpload":  front.Needs(access.Push),
	"PutBlob":      front.Needs(access.Push),
	"MountBlob":    front.Needs(access.Push),
	"FindUpload":   front.Needs(access.Push),
	"AppendUpload": front.Needs(access.Push),
	"CommitUpload": front.Needs(access.Push),
	"CancelUpload": front.Needs(access.Push),
}

// endpoints are the operations with their middlewares around them.
type endpoints struct {
	startUpload  kit.Op[StartUploadRequest, SessionResponse]
	putBlob      kit.Op[PutBlobRequest, BlobResponse]
	mountBlob    kit.Op[MountBlobRequest, MountBlobResponse]
	findUpload   kit.Op[SessionRequest, SessionResponse]
	appendUpload kit.Op[AppendUploadRequest, SessionResponse]
	commitUpload kit.Op[CommitUploadRequest, BlobResponse]
	cancelUpload kit.Op[SessionRequest, kit.Empty]
}

// newEndpoints puts mw around each operation, the first outermost. The rules are
// inside them. Inside the rules is the guard of pushes, which can refuse a push at
// its start.
func newEndpoints(s *Service, mw []kit.Middleware) endpoints {
	mw = append(slices.Clip(mw), front.Access(rules), s.guard.Around("StartUpload", "PutBlob", "MountBlob"))
	return endpoints{
		startUpload:  kit.Wrap("StartUpload", s.StartUpload, mw...),
		putBlob:      kit.Wrap("PutBlob", s.PutBlob, mw...),
		mountBlob:    kit.Wrap("MountBlob", s.MountBlob, mw...),
		findUpload:   kit.Wrap("FindUpload", s.FindUpload, mw...),
		appendUpload: kit.Wrap("AppendUpload", s.AppendUpload, mw...),
		commitUpload: kit.Wrap("CommitUpload", s.CommitUpload, mw...),
		cancelUpload: kit.Wrap("CancelUpload", s.CancelUpload, mw...),
	}
}
