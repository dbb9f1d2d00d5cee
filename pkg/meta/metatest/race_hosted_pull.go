package metatest

import (
	"fmt"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// racePulls lets batches of several processes, about the same content in different orders,
// meet pushes and deletions of it.
func racePulls(w world) {
	r := w.repo("app")
	var images []meta.ManifestPut
	var pulls []meta.HostedPull
	for i := range 6 {
		images = append(images, w.image(nil, w.push(r, fmt.Sprint(i))))
		pulls = append(pulls, meta.HostedPull{Repo: r, Digest: images[i].Manifest.Digest, Tag: fmt.Sprint("v", i), Times: 1})
	}
	gone := func(err error) {
		if !fault.Is(err, fault.ManifestUnknown) {
			w.fine(err)
		}
	}
	processes := []*process{w.process(), w.process(), w.process()}
	const rounds = 10
	for range rounds {
		for i, image := range images {
			w.put(r, image, fmt.Sprint("v", i), fmt.Sprint("w", i))
		}
		var all []func()
		for n, p := range processes {
			turned := slices.Concat(pulls[n*2:], pulls[:n*2])
			all = append(all, func() {
				p.number++
				w.fine(w.Store.RecordHostedPulls(w.t.Context(), meta.PullBatch{Recorder: p.id, Number: p.number, Pulls: turned, Whole: true}))
			})
		}
		for i := range 3 {
			all = append(all,
				func() {
					gone(w.Store.DeleteManifest(w.t.Context(), meta.ManifestDelete{Repo: r, Digest: images[i].Manifest.Digest, By: cause()}))
				},
				func() { gone(w.Store.DeleteTag(w.t.Context(), cause(), r, fmt.Sprint("v", 3+i))) },
				func() { w.fine(w.tryPut(r, images[i], fmt.Sprint("v", 5-i))) },
			)
		}
		together(all...)
	}
	for _, image := range images[3:] { // their manifests stay
		if m := w.manifestOf(r, image.Manifest.Digest); m.Pulls != rounds*int64(len(processes)) {
			w.t.Errorf("%+v, want each of %d batches to count", m, rounds*len(processes))
		}
	}
	w.consistent()
}
