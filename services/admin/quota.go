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
		if err := checkQuota(of.field, of.most); err != nil {
			return err
		}
	}
	return nil
}

// mostQuota is far below what numbers of a database can be added up to.
const mostQuota = 1 << 60

func checkQuota(field string, most int64) error {
	if most < 0 || most > mostQuota {
		return invalid(field, "a quota is from 0, which means no limit, to %d", int64(mostQuota))
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
		if err := checkQuota("registry.quota."+of.field, of.most); err != nil {
			return tenant.Quota{}, err
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
