package admin

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

// usageSuffix ends the paths of exports of usage: …/usagePeriods:export.
const usageSuffix = "usagePeriods:export"

// usageExporter answers exports of usage as CSV: of a tenant, or for the operator of all,
// also of deleted ones. It reads page by page, as a client that lists does, and each page passes
// the same checks. All else it leaves to the next handler.
type usageExporter struct {
	gate
	client pb.AdminServiceClient
	next   http.Handler
}

func newUsageExporter(g gate, conn *grpc.ClientConn, next http.Handler) usageExporter {
	return usageExporter{g, pb.NewAdminServiceClient(conn), next}
}

func (e usageExporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	owner, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/"), usageSuffix)
	owner = strings.TrimSuffix(owner, "/")
	if !ok || r.Method != http.MethodGet || owner != "" && (!strings.HasPrefix(owner, "tenants/") || strings.Count(owner, "/") != 1) {
		e.next.ServeHTTP(w, r)
		return
	}
	req, err := usageExportOf(r.URL.RawQuery)
	if err != nil {
		writeStatus(w, r, 0, toStatus(r.Context(), e.log, err))
		return
	}
	table := &usageTable{w: w, csv: csv.NewWriter(w)}
	if owner != "" {
		req.Parent = owner
		err = e.tenant(r, table, req)
	} else {
		err = e.tenants(r, table, req)
	}
	if err == nil {
		err = table.end()
	}
	if err == nil {
		return
	}
	if table.begun { // a client must not take a part for the whole
		panic(http.ErrAbortHandler)
	}
	writeError(r.Context(), nil, nil, w, r, err)
}

// usageExportOf reads the range and the granularity as the gateway does for a list.
func usageExportOf(rawQuery string) (*pb.ListUsageRequest, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.RequestInvalid, "the query cannot be read")
	}
	req := &pb.ListUsageRequest{PageSize: largestPage}
	for name, values := range query {
		switch {
		case len(values) != 1:
			return nil, invalid(name, "it is given more than once")
		case name != "start_time" && name != "end_time" && name != "granularity":
			return nil, invalid(name, "an export takes start_time, end_time and granularity")
		}
		one := url.Values{name: values}
		if err := runtime.PopulateQueryParameters(req, one, utilities.NewDoubleArray(nil)); err != nil {
			return nil, invalid(name, "it cannot be read: a time is as 2026-01-01T00:00:00Z, and a granularity HOUR, DAY or MONTH")
		}
	}
	return req, nil
}

// tenants adds all tenants, each by its uid: deleted ones share names.
func (e usageExporter) tenants(r *http.Request, table *usageTable, req *pb.ListUsageRequest) error {
	list := &pb.ListTenantsRequest{PageSize: largestPage, ShowDeleted: true}
	for {
		page, err := e.client.ListTenants(exportCall(r, "ListTenants"), list)
		if err != nil {
			return err
		}
		for _, t := range page.GetTenants() {
			req.Parent, req.PageToken = "tenants/"+t.GetUid(), ""
			if err := e.tenant(r, table, req); err != nil {
				return err
			}
		}
		if list.PageToken = page.GetNextPageToken(); list.PageToken == "" {
			return nil
		}
	}
}

// tenant adds the periods of a tenant.
func (e usageExporter) tenant(r *http.Request, table *usageTable, req *pb.ListUsageRequest) error {
	for {
		page, err := e.client.ListUsage(exportCall(r, "ListUsage"), req)
		if err != nil {
			return err
		}
		if err := table.add(page.GetPeriods()); err != nil {
			return err
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
}

// usageTable is the CSV of an export. No cell begins with a character that a spreadsheet takes
// for that of a formula: cells are slugs, times and numbers that are not below zero.
type usageTable struct {
	w     http.ResponseWriter
	csv   *csv.Writer
	begun bool
}

// usageColumns are in this order for good; new ones are added at the end.
var usageColumns = []string{
	"tenant", "tenant_uid", "start_time", "end_time", "pulls", "pushes", "egress_bytes", "received_bytes", "cache_saved_bytes", "sharing_saved_bytes",
	"sampled_hours", "stored_byte_hours", "shared_byte_hours", "cached_byte_hours", "trash_byte_hours",
}

// begin writes the header.
func (t *usageTable) begin() error {
	if t.begun {
		return nil
	}
	t.begun = true
	t.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	t.w.Header().Set("Content-Disposition", `attachment; filename="usage.csv"`)
	return t.csv.Write(usageColumns)
}

func (t *usageTable) add(periods []*pb.UsagePeriod) error {
	if err := t.begin(); err != nil {
		return err
	}
	at := func(s *timestamppb.Timestamp) string { return s.AsTime().Format(time.RFC3339) }
	for _, p := range periods {
		row := []string{strings.TrimPrefix(p.GetTenant(), "tenants/"), p.GetTenantUid(), at(p.GetStartTime()), at(p.GetEndTime())}
		for _, n := range []int64{
			p.GetPulls(), p.GetPushes(), p.GetEgressBytes(), p.GetReceivedBytes(), p.GetCacheSavedBytes(), p.GetSharingSavedBytes(),
			p.GetSampledHours(), p.GetStoredByteHours(), p.GetSharedByteHours(), p.GetCachedByteHours(), p.GetTrashByteHours(),
		} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		if err := t.csv.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// end sends what is left; a deployment without tenants has the header alone.
func (t *usageTable) end() error {
	if err := t.begin(); err != nil {
		return err
	}
	t.csv.Flush()
	return t.csv.Error()
}
