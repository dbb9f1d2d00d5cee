package admin

import (
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/scan"
)

// scanRequirementOf reads what is asked of results of scans; nil asks nothing.
func scanRequirementOf(field string, m *pb.ScanRequirement) (meta.ScanRequirement, error) {
	var r meta.ScanRequirement
	if m == nil {
		return r, nil
	}
	if _, known := pb.ScanRequirement_Severity_name[int32(m.GetMaxSeverity())]; !known {
		return r, invalid(field+".max_severity", "%d is not a severity; it is one of NONE, LOW, MEDIUM, HIGH, CRITICAL", m.GetMaxSeverity())
	}
	r.MaxSeverity = scan.Severity(m.GetMaxSeverity())
	if d := m.GetMaxAge(); d != nil {
		if r.MaxAge = d.AsDuration(); d.CheckValid() != nil || r.MaxAge < 0 || r.MaxAge > longestLife {
			return r, invalid(field+".max_age", "%s is out of range: from 0s to 87600h, such as \"24h\"", d.AsDuration())
		}
	}
	if r.None() {
		return r, invalid(field, "it asks nothing; set max_age, max_severity, or both")
	}
	return r, nil
}

func scanRequirementMessage(r meta.ScanRequirement) *pb.ScanRequirement {
	if r.None() {
		return nil
	}
	m := &pb.ScanRequirement{MaxSeverity: pb.ScanRequirement_Severity(r.MaxSeverity)}
	if r.MaxAge > 0 {
		m.MaxAge = durationpb.New(r.MaxAge)
	}
	return m
}
