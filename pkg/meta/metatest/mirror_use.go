package metatest

import (
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

func mirrorHostUses(w world) {
	ctx := w.t.Context()
	w.addUpstream("hub", meta.UpstreamSettings{})
	w.addMirrorHost("engines", 'a')
	hour := w.Now().UTC().Truncate(time.Hour)
	use := func(slug, address string) meta.MirrorUse {
		return meta.MirrorUse{Tenant: w.tenant, Slug: slug, Address: address, Hour: hour}
	}
	for range 2 {
		w.must(w.Store.RecordMirrorUses(ctx, map[meta.MirrorUse]int64{use("engines", "192.0.2.1"): 3, use("engines", "192.0.2.2"): 1, use("gone", "192.0.2.3"): 1}))
	}
	h, err := w.Store.FindMirrorHost(ctx, w.tenant, "engines")
	if err != nil || !h.UsedAt.Equal(w.Now()) || h.UsedFrom != "192.0.2.2" || h.Version != 1 {
		w.t.Errorf("%+v, %v", h, err)
	}
	many := map[meta.MirrorUse]int64{}
	for i := range meta.MaxMirrorAddresses + 10 {
		many[use("engines", fmt.Sprintf("198.51.%d.%d", i/256, i%256))] = 1
	}
	w.must(w.Store.RecordMirrorUses(ctx, many))
	first := map[string]int{}
	times := int64(0)
	for _, e := range w.events("", 1000) {
		switch e.Verb {
		case "mirrorHost.first_use":
			first[e.Address]++
		case "mirrorHost.use":
			if times > 0 || e.Address != "" || !e.At.Equal(hour) {
				w.t.Errorf("another event of the hour: %+v", e)
			}
			times = e.Times
		default:
			continue
		}
		if e.Target != "mirrorHosts/engines" || e.Actor != "mirrorHosts/engines" {
			w.t.Errorf("event %+v", e)
		}
	}
	if len(first) != meta.MaxMirrorAddresses || first["192.0.2.1"] != 1 || times != 8+int64(len(many)) {
		w.t.Errorf("%d addresses, %d times", len(first), times)
	}
}
