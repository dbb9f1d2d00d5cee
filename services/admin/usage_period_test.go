package admin

import (
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// usageAPI is a service whose store has a clock of its own, with a tenant that was used in the
// last hours of a year and the first of the next one: pulls of 1, 2, 4 and 8.
type usageAPI struct {
	*api
	now      atomic.Int64 // seconds since 1970
	recorder uuid.UUID
	number   int64
}

func newUsageAPI(t *testing.T) *usageAPI {
	t.Helper()
	u := &usageAPI{recorder: uuid.New()}
	u.now.Store(time.Date(2026, 12, 31, 22, 10, 0, 0, time.UTC).Unix())
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(u.now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	u.api = serveAPI(t, store)
	u.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for i := range 4 {
		u.pull("acme", 1<<i)
		u.advance(time.Hour)
	}
	return u
}

func (u *usageAPI) advance(d time.Duration) { u.now.Add(int64(d / time.Second)) }

func (u *usageAPI) pull(slug string, times int64) {
	u.t.Helper()
	t, err := u.store.FindTenant(u.t.Context(), slug)
	if err != nil {
		u.t.Fatal(err)
	}
	u.number++
	b := meta.UsageBatch{Recorder: u.recorder, Number: u.number, Tenants: []meta.TenantUsage{{Tenant: t.ID, UsageCount: meta.UsageCount{Pulls: times, EgressBytes: times << 40}}}}
	if err := u.store.RecordUsage(u.t.Context(), b); err != nil {
		u.t.Fatal(err)
	}
}

// listed are start and pulls of each period, and the token of the next page.
func (u *usageAPI) listed(query string) ([]string, string) {
	u.t.Helper()
	resp, text := u.send(operatorToken, "GET", "/v1/tenants/acme/usagePeriods"+query, "")
	var page struct {
		Periods []struct {
			Tenant, Pulls string
			Start         string `json:"start_time"`
		}
		Next string `json:"next_page_token"`
	}
	if err := json.Unmarshal(text, &page); err != nil || resp.StatusCode != 200 {
		u.t.Fatalf("%s: %d %s", query, resp.StatusCode, text)
	}
	got := []string{}
	for _, p := range page.Periods {
		if p.Tenant != "tenants/acme" {
			u.t.Errorf("%s: of %q", query, p.Tenant)
		}
		got = append(got, strings.TrimSuffix(p.Start, ":00:00Z")+" "+p.Pulls)
	}
	return got, page.Next
}

func TestW250_UsageIsListedByHourDayAndMonth(t *testing.T) {
	t.Parallel()
	u := newUsageAPI(t)
	for query, want := range map[string][]string{
		"":                   {"2026-12-31T22 1", "2026-12-31T23 2", "2027-01-01T00 4", "2027-01-01T01 8"},
		"?granularity=DAY":   {"2026-12-31T00 3", "2027-01-01T00 12"},
		"?granularity=MONTH": {"2026-12-01T00 3", "2027-01-01T00 12"},
		"?granularity=HOUR&start_time=2026-12-31T23:00:00Z&end_time=2027-01-01T01:00:00Z":  {"2026-12-31T23 2", "2027-01-01T00 4"},
		"?granularity=MONTH&start_time=2026-12-31T23:00:00Z&end_time=2027-01-01T01:00:00Z": {"2026-12-31T23 2", "2027-01-01T00 4"},
		"?start_time=2027-01-01T00:00:01Z":                                                 {"2027-01-01T01 8"},
		"?start_time=2028-01-01T00:00:00Z":                                                 {},
	} {
		if got, next := u.listed(query); !slices.Equal(got, want) || next != "" {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	var paged []string
	for token := ""; ; {
		got, next := u.listed("?page_size=3&page_token=" + token)
		paged = append(paged, got...)
		if token = next; token == "" {
			break
		}
	}
	if all, _ := u.listed(""); !slices.Equal(paged, all) {
		t.Errorf("pages are %q, all is %q", paged, all)
	}
	_, token := u.listed("?page_size=1")
	for _, refused := range []string{
		"?granularity=WEEK", "?start_time=yesterday", "?start_time=1066-10-14T00:00:00Z", "?page_size=-1",
		"?start_time=2027-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z", "?granularity=DAY&page_token=" + token, "?page_token=x",
	} {
		if resp, text := u.send(operatorToken, "GET", "/v1/tenants/acme/usagePeriods"+refused, ""); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", refused, resp.StatusCode, text)
		}
	}
}

func TestW249_AnOperatorReadsWhatADeletedTenantUsed(t *testing.T) {
	t.Parallel()
	u := newUsageAPI(t)
	uid := u.uidOf("acme")
	u.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	if got, _ := u.listed(""); len(got) != 4 {
		t.Errorf("of the deleted tenant: %q", got)
	}
	u.advance(meta.DefaultLifetimes.Undelete + meta.DefaultLifetimes.Quarantine + time.Hour)
	for {
		n, err := u.store.(meta.Collector).PurgeDeleted(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	u.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	if got, _ := u.listed(""); len(got) != 0 {
		t.Errorf("the new tenant of the name has %q", got)
	}
	if resp, text := u.send(operatorToken, "GET", "/v1/tenants/"+uid+"/usagePeriods", ""); resp.StatusCode != 200 || strings.Count(string(text), `"pulls"`) != 4 {
		t.Errorf("by uid: %d %s", resp.StatusCode, text)
	}
}

func (u *usageAPI) uidOf(slug string) string {
	u.t.Helper()
	var made struct{ UID string }
	_, text := u.send(operatorToken, "GET", "/v1/tenants/"+slug, "")
	if err := json.Unmarshal(text, &made); err != nil || made.UID == "" {
		u.t.Fatalf("%s: %v", text, err)
	}
	return made.UID
}

func TestW251_UsageIsExportedAsCSV(t *testing.T) {
	t.Parallel()
	u := newUsageAPI(t)
	u.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	u.pull("other", 5)
	table := func(path string) [][]string {
		t.Helper()
		resp, text := u.send(operatorToken, "GET", path, "")
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv;") {
			t.Fatalf("%s: %d %q %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), text)
		}
		rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
		if err != nil || len(rows) == 0 {
			t.Fatalf("%s: %v", text, err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.ContainsAny(cell[:1], "=+-@\t\r") {
					t.Errorf("%s: the cell %q is a formula", path, cell)
				}
			}
		}
		return rows
	}
	header := "tenant tenant_uid start_time end_time pulls pushes egress_bytes received_bytes cache_saved_bytes sharing_saved_bytes sampled_hours stored_byte_hours shared_byte_hours cached_byte_hours trash_byte_hours"
	rows := table("/v1/tenants/acme/usagePeriods:export?granularity=MONTH&end_time=2027-01-01T01:00:00Z")
	want := [][]string{
		strings.Fields(header),
		strings.Fields("acme " + u.uidOf("acme") + " 2026-12-01T00:00:00Z 2027-01-01T00:00:00Z 3 0 3298534883328 0 0 0 0 0 0 0 0"),
		strings.Fields("acme " + u.uidOf("acme") + " 2027-01-01T00:00:00Z 2027-01-01T01:00:00Z 4 0 4398046511104 0 0 0 0 0 0 0 0"),
	}
	if !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("got %q, want %q", rows, want)
	}
	if rows := table("/v1/tenants/acme/usagePeriods:export?start_time=2028-01-01T00:00:00Z"); !slices.EqualFunc(rows, want[:1], slices.Equal) {
		t.Errorf("of no hour: %q", rows)
	}
	u.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	all := table("/v1/usagePeriods:export")
	count := map[string]int{}
	for _, row := range all[1:] {
		count[row[0]]++
	}
	if len(all) != 6 || count["acme"] != 4 || count["other"] != 1 {
		t.Errorf("of all tenants: %q", all)
	}
	for query, want := range map[string]int{
		"?granularity=WEEK": 400, "?page_size=1": 400, "?filter=x": 400, "?start_time=now": 400, "?granularity=DAY&granularity=HOUR": 400, "?%zz": 400,
	} {
		if resp, text := u.send(operatorToken, "GET", "/v1/usagePeriods:export"+query, ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", query, resp.StatusCode, text)
		}
	}
}

func TestW251_AnExportHasTheRightsOfAList(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	who := principals(t, a)
	for name, want := range map[string]int{"own admin": 200, "own auditor": 200, "own reader": 403} {
		token := strings.TrimPrefix(who[name].authorization[0], "Bearer ")
		if resp, text := a.send(token, "GET", "/v1/tenants/t-there/usagePeriods:export", ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
		for _, path := range []string{"/v1/tenants/t-other/usagePeriods:export", "/v1/usagePeriods:export"} {
			if resp, text := a.send(token, "GET", path, ""); resp.StatusCode != 403 {
				t.Errorf("%s of %s: %d %s", name, path, resp.StatusCode, text)
			}
		}
	}
	if resp, _ := a.send("", "GET", "/v1/tenants/t-there/usagePeriods:export", ""); resp.StatusCode != 401 {
		t.Errorf("without a token: %d", resp.StatusCode)
	}
}
