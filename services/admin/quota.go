package admin

import (
	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// checkMaxima refuses numbers that are no limits.
func checkMaxima(m *pb.Tenant) error {
	for _, of := range []struct {
		field string
		most  int64
	}{{"tenant.max_repositories", m.GetMaxRepositories()}, {"tenant.max_manifests", m.GetMaxManifests()}, {"tenant.max_tags", m.GetMaxTags()}} {
		if of.most < 0 {
			return invalid(of.field, "a quota is not negative; 0 means no limit")
		}
	}
	return nil
}

// maxima are what all registries of a tenant may hold.
func maxima(m *pb.Tenant) tenant.Quota {
	return tenant.Quota{Repositories: m.GetMaxRepositories(), Manifests: m.GetMaxManifests(), Tags: m.GetMaxTags()}
}

// registryQuota is what a client may set, checked.
func registryQuota(m *pb.RegistryQuota) (tenant.Quota, error) {
	for _, of := range []struct {
		field string
		most  int64
	}{{"bytes", m.GetBytes()}, {"repositories", m.GetRepositories()}, {"manifests", m.GetManifests()}, {"tags", m.GetTags()}} {
		if of.most < 0 {
			return tenant.Quota{}, invalid("registry.quota."+of.field, "a quota is not negative; 0 means no limit")
		}
	}
	return tenant.Quota{Bytes: m.GetBytes(), Repositories: m.GetRepositories(), Manifests: m.GetManifests(), Tags: m.GetTags()}, nil
}

// registryQuotaMessage returns the quota of a registry as a message, or nil where it has no limit.
func registryQuotaMessage(q tenant.Quota) *pb.RegistryQuota {
	if q == (tenant.Quota{}) {
		return nil
	}
	return &pb.RegistryQuota{Bytes: q.Bytes, Repositories: q.Repositories, Manifests: q.Manifests, Tags: q.Tags}
}

func hostedMessage(h meta.Hosted) *pb.HostedContent {
	return &pb.HostedContent{Bytes: h.Bytes, Repositories: h.Repositories, Manifests: h.Manifests, Tags: h.Tags, Counting: h.Counting}
}
