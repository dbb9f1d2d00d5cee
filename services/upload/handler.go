package upload

import (
	"net/http"
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// rules says who may do what. An operation that is missing here does not start.
// MountBlob asks besides whether the caller may pull from the source.
var rules = map[string]front.Rule{
	"StartUpload":  front.Needs(access.Push),
	"PutBlob":      front.Needs(access.Push),
	"MountBlob":    front.Needs(access.Push),
	"FindUpload":   front.Needs(access.Push),
	"AppendUpload": front.Needs(access.Push),
	"CommitUpload": front.Needs(access.Push),
	"CancelUpload": front.Needs(access.Push),
}

// NewHandler serves the operations over HTTP, behind a front. mw go around each
// of them, the first outermost; the rules are decided inside. A push that may not
// take its name ends where it begins.
func NewHandler(s *Service, mw ...kit.Middleware) http.Handler {
	mw = append(slices.Clip(mw), front.Access(rules), s.guard.Around("StartUpload", "PutBlob", "MountBlob"))
	fail := kit.Errors(front.WriteError)

	start := kit.Handler(kit.Wrap("StartUpload", s.StartUpload, mw...), decodeStartUpload, encodeAccepted, fail)
	put := kit.Handler(kit.Wrap("PutBlob", s.PutBlob, mw...), decodePutBlob, encodeBlob, fail)
	mount := kit.Handler(kit.Wrap("MountBlob", s.MountBlob, mw...), decodeMountBlob, encodeMounted, fail)
	find := kit.Handler(kit.Wrap("FindUpload", s.FindUpload, mw...), decodeUploadRef, encodeStatus, fail)
	appending := kit.Handler(kit.Wrap("AppendUpload", s.AppendUpload, mw...), decodeAppendUpload, encodeAccepted, fail)
	commit := kit.Handler(kit.Wrap("CommitUpload", s.CommitUpload, mw...), decodeCommitUpload, encodeBlob, fail)
	cancel := kit.Handler(kit.Wrap("CancelUpload", s.CancelUpload, mw...), decodeUploadRef, encodeEmpty, fail)

	return interruptible(front.Endpoints{
		ocihttp.UploadStart: {http.MethodPost: byQuery(mount, put, start)},
		ocihttp.Upload: {
			http.MethodGet: find, http.MethodPatch: appending, http.MethodPut: commit, http.MethodDelete: cancel,
		},
	})
}

// byQuery picks what a POST is by its parameters (distribution-spec,
// "Endpoints": end-4a, end-4b and end-11 are one path).
func byQuery(mount, put, start http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := front.CallOf(r.Context()).Query; {
		case q.Has("mount"):
			mount.ServeHTTP(w, r)
		case q.Has("digest"):
			put.ServeHTTP(w, r)
		default:
			start.ServeHTTP(w, r)
		}
	})
}
