package admin

import (
	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/tenant"
)

// checkRateLimits refuses numbers that are no limits.
func checkRateLimits(m *pb.RateLimits) error {
	for _, of := range []struct {
		field string
		limit *pb.RateLimit
	}{{"tenant.rate_limits.tenant", m.GetTenant()}, {"tenant.rate_limits.caller", m.GetCaller()}} {
		switch l := of.limit; {
		case l.GetRequestsPerSecond() < -1:
			return invalid(of.field+".requests_per_second", "requests a second are not negative; 0 means the limit of the deployment, -1 none")
		case l.GetEgressBytesPerSecond() < -1, l.GetEgressBytesPerSecond() > 0 && l.GetEgressBytesPerSecond() < tenant.MinEgress:
			return invalid(of.field+".egress_bytes_per_second", "take %d or more, since clients give up what comes more slowly; 0 means the limit of the deployment, -1 none", tenant.MinEgress)
		case l.GetConcurrentUploads() < -1:
			return invalid(of.field+".concurrent_uploads", "uploads at once are not negative; 0 means the limit of the deployment, -1 none")
		}
	}
	return nil
}

func rateLimits(m *pb.RateLimits) tenant.RateLimits {
	return tenant.RateLimits{Tenant: rateLimit(m.GetTenant()), Caller: rateLimit(m.GetCaller())}
}

func rateLimit(m *pb.RateLimit) tenant.RateLimit {
	return tenant.RateLimit{Requests: int64(m.GetRequestsPerSecond()), Egress: m.GetEgressBytesPerSecond(), Uploads: int64(m.GetConcurrentUploads())}
}

func rateLimitsMessage(l tenant.RateLimits) *pb.RateLimits {
	return &pb.RateLimits{Tenant: rateLimitMessage(l.Tenant), Caller: rateLimitMessage(l.Caller)}
}

func rateLimitMessage(l tenant.RateLimit) *pb.RateLimit {
	return &pb.RateLimit{RequestsPerSecond: int32(l.Requests), EgressBytesPerSecond: l.Egress, ConcurrentUploads: int32(l.Uploads)}
}
