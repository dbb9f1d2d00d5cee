package chain

import (
	"maps"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MirrorRegistry is the registry of ForMirror. No registry has this slug.
const MirrorRegistry = ""

// ForMirror is the topology with another registry, MirrorRegistry, whose chain is what a
// mirror host answers for. It hosts nothing and claims no name.
func ForMirror(t meta.Topology, m tenant.Mirror) meta.Topology {
	registries := make(map[string]meta.TopologyRegistry, len(t.Registries)+1)
	maps.Copy(registries, t.Registries)
	mirror := meta.TopologyRegistry{Group: m.Group}
	if m.Upstream != "" {
		mirror.Mirrored = []string{m.Upstream}
	}
	registries[MirrorRegistry] = mirror
	t.Registries = registries
	return t
}
