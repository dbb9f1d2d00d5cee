// Package respond writes what a registry answers to a pull: manifests, blobs and
// lists, the same whichever service found them.
package respond

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/kit"
)

// WriteManifest ignores Accept: a registry cannot give another form of a manifest
// without changing its digest.
func WriteManifest(ctx context.Context, w http.ResponseWriter, m meta.Manifest) error {
	setContent(w.Header(), m.Digest, m.MediaType)
	kit.ServeBytes(ctx, w, m.Payload)
	return nil
}

// ManifestSize is what sending the manifest takes.
func ManifestSize(m meta.Manifest) int64 { return int64(len(m.Payload)) }

// How long the body of a manifest may take: receiveGrace, and the time of its
// bytes at receiveRate. One of 4 MiB has 148 s.
const (
	receiveGrace = 20 * time.Second
	receiveRate  = 32 << 10 // bytes per second
)

// Receive reads the body of a manifest, whose announced length is -1 where it is
// not announced, and one byte more than a manifest may have, so that its parser
// sees that it is too large. What has arrived is counted, not what is announced:
// the buffer doubles as it fills. leave ends the counting.
func (t *ByteBudget) Receive(ctx context.Context, id tenant.ID, body io.Reader, length int64) ([]byte, func(), error) {
	most := oci.MaxManifest + 1
	if length >= 0 && length < oci.MaxManifest {
		most = int(length) + 1 // the one more sees the end
	}
	var held int64
	leave := func() {
		if held > 0 {
			t.gate.Release(id, held)
		}
	}
	began := time.Now()
	payload := make([]byte, 0, min(most, uncounted))
	for {
		n, err := body.Read(payload[len(payload):cap(payload)])
		payload = payload[:len(payload)+n]
		switch {
		case errors.Is(err, io.EOF) || err == nil && len(payload) == most:
			return payload, leave, nil
		case err != nil:
			leave()
			return nil, nil, incomplete(err)
		case time.Since(began) > receiveGrace+time.Duration(len(payload))*time.Second/receiveRate:
			leave()
			return nil, nil, fault.New(fault.TooSlow, fault.RequestTimeout, "the manifest body arrived too slowly")
		}
		if len(payload) < cap(payload) {
			continue
		}
		// Both buffers are there while one is copied; the old one is small against
		// what is held, and goes at once.
		size := min(2*cap(payload), most)
		if err := t.wait(ctx, id, int64(size)-held); err != nil {
			leave()
			return nil, nil, err
		}
		held = int64(size)
		payload = append(make([]byte, 0, size), payload...)
	}
}

func incomplete(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.Wrap(err, fault.Invalid, fault.ManifestInvalid, "the manifest body ended early")
}
