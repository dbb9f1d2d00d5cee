package admin

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const acmeRepositories = "/v1/tenants/acme/registries/main/repositories"

// fillNames gives a registry and a cache the same repositories, and one the tags.
func fillNames(a *api) map[string]string {
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=u1", `{"url": "https://ghcr.io"}`)
	names := []string{"app", "app-old", "apps", "web", "lib.nginx", "nginx", "zz"}
	for _, name := range names {
		a.push("acme", "main", name, "latest")
		a.cache("acme", "u1", name, "latest")
	}
	a.push("acme", "main", "tagged", names...)
	a.call(200, "DELETE", acmeRepositories+"/tagged", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=other", "")
	a.push("acme", "other", "tagged", names...)
	return map[string]string{
		acmeRepositories: "repositories",
		"/v1/tenants/acme/upstreams/u1/repositories":                     "repositories",
		"/v1/tenants/acme/registries/other/repositories/tagged:listTags": "tags",
	}
}

// pages reads a list to its end, and returns the last part of each row's name.
func (a *api) pages(path, member string, size int, query url.Values) []string {
	a.t.Helper()
	query = url.Values{"filter": query["filter"], "order_by": query["order_by"], "page_size": {fmt.Sprint(size)}}
	var found []string
	for range 50 {
		page := a.call(200, "GET", path+"?"+query.Encode(), "")
		for _, row := range page[member].([]any) {
			name, ok := row.(string)
			if !ok {
				_, name, _ = strings.Cut(row.(map[string]any)["name"].(string), "/repositories/")
			}
			found = append(found, name)
		}
		token := page["next_page_token"].(string)
		if token == "" {
			return found
		}
		query.Set("page_token", token)
	}
	a.t.Fatalf("%s?%s has no end", path, query.Encode())
	return nil
}

func TestP30_NamesAreFilteredAndOrdered(t *testing.T) {
	a := newAPI(t)
	for path, member := range fillNames(a) {
		for _, c := range []struct {
			filter string
			want   string
		}{
			{"", "app app-old apps lib.nginx nginx web zz"},
			{`name="app"`, "app"},
			{`name="app*"`, "app app-old apps"},
			{`name="*"`, "app app-old apps lib.nginx nginx web zz"},
			{`name="n*"`, "nginx"},
			{`name="ap"`, ""},
			{`name="zzz*"`, ""},
			{`name:"nginx"`, "lib.nginx nginx"},
			{`name:"p"`, "app app-old apps"},
			{`name:"NGINX"`, ""},
			{`name:"%"`, ""},
			{`name:"_"`, ""},
			{`name="app*" AND name:"s"`, "apps"},
			{`name:"old" AND name="app*"`, "app-old"},
		} {
			want := strings.Fields(c.want)
			for _, order := range []string{"", "name", " name  desc "} {
				if strings.Contains(order, "desc") {
					slices.Reverse(want)
				}
				for _, size := range []int{1, 2, 100} {
					got := a.pages(path, member, size, url.Values{"filter": {c.filter}, "order_by": {order}})
					if !slices.Equal(got, want) {
						t.Errorf("%s, filter %s, order %q, by %d: %q, want %q", path, c.filter, order, size, got, want)
					}
				}
			}
		}
	}
}

func TestP30_EventsAreFilteredAndOrdered(t *testing.T) {
	a := newAPI(t)
	fillLists(a)
	const path = "/v1/tenants/acme/events"
	all := a.call(200, "GET", path+"?page_size=1000", "")["events"].([]any)
	field := func(e any, name string) string { return e.(map[string]any)[name].(string) }
	at := func(e any) time.Time {
		found, err := time.Parse(time.RFC3339Nano, field(e, "time"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	middle := at(all[len(all)/2])
	for filter, matches := range map[string]func(any) bool{
		"":                             func(any) bool { return true },
		`verb="manifest.put"`:          func(e any) bool { return field(e, "verb") == "manifest.put" },
		`verb="key.*"`:                 func(e any) bool { return field(e, "verb") == "key.create" },
		`actor="operator"`:             func(e any) bool { return field(e, "actor") == "operator" },
		`actor="serviceAccounts/none"`: func(any) bool { return false },
		`target:"registries/r"`:        func(e any) bool { return strings.Contains(field(e, "target"), "registries/r") },
		`verb="registry.create" AND target:"r3"`: func(e any) bool {
			return field(e, "verb") == "registry.create" && field(e, "target") == "registries/r3"
		},
		fmt.Sprintf("time>=%q", middle.Format(time.RFC3339Nano)): func(e any) bool { return !at(e).Before(middle) },
		fmt.Sprintf("time<%q", middle.Format(time.RFC3339Nano)):  func(e any) bool { return at(e).Before(middle) },
		`time>="2099-01-01T00:00:00Z"`:                           func(any) bool { return false },
		`time>="2000-01-01T00:00:00Z" AND time<"2099-01-01T00:00:00+01:00" AND verb="key.create"`: func(e any) bool {
			return field(e, "verb") == "key.create"
		},
		`target:"' OR 1=1 --"`: func(any) bool { return false },
	} {
		var want []string
		for _, e := range all {
			if matches(e) {
				want = append(want, field(e, "name"))
			}
		}
		for _, order := range []string{"", "time desc", "time"} {
			if order == "time" {
				slices.Reverse(want)
			}
			for _, size := range []string{"3", "1000"} {
				var got []string
				query := url.Values{"filter": {filter}, "order_by": {order}, "page_size": {size}}
				for more := true; more; more = query.Get("page_token") != "" {
					page := a.call(200, "GET", path+"?"+query.Encode(), "")
					for _, e := range page["events"].([]any) {
						got = append(got, field(e, "name"))
					}
					query.Set("page_token", page["next_page_token"].(string))
				}
				if !slices.Equal(got, want) {
					t.Errorf("filter %s, order %q, by %s: %q, want %q", filter, order, size, got, want)
				}
			}
		}
	}
}

func TestP33_PageTokensAreOfOneFilter(t *testing.T) {
	a := newAPI(t)
	for path := range fillNames(a) {
		queries := []url.Values{
			{},
			{"filter": {`name="a*"`}},
			{"filter": {`name:"a"`}},
			{"order_by": {"name desc"}},
			{"filter": {`name="a*"`}, "order_by": {"name desc"}},
		}
		for i, q := range queries {
			q.Set("page_size", "1")
			token := a.call(200, "GET", path+"?"+q.Encode(), "")["next_page_token"].(string)
			if token == "" {
				t.Fatalf("%s?%s has one page", path, q.Encode())
			}
			for j, other := range queries {
				want := 400
				if i == j {
					want = 200
				}
				got := a.call(want, "GET", path+"?"+other.Encode()+"&page_token="+token, "")
				if want == 400 && reason(t, got) != "PAGE_TOKEN_INVALID" {
					t.Errorf("%s?%s with a token of %s: %v", path, other.Encode(), q.Encode(), got)
				}
			}
		}
	}
}

// hostileFilters are none that a list understands.
func hostileFilters() []string {
	values := []string{
		"' OR '1'='1", `" OR "1"="1`, "1; DROP TABLE events", "x'; SELECT pg_sleep(3) --", "1 UNION SELECT secret FROM account_keys",
		"%27", "a\x00b", "a\nb", "\x7f", "$1", "?1", "{{7*7}}", "${jndi:ldap://x}", "*", "a*b", "**", "\\", "\"", "’", "\u202e", "ﬀ", "😀", "",
	}
	fields := []string{
		"password", "secret", "name", "secret_hash", "tenant_id", "1", "name.secret", "name->>'x'", "NAME", "", "request_id", "id", "events.op",
	}
	var all []string
	for _, field := range fields {
		for _, value := range values {
			all = append(all, field+"~"+value, field+"=~"+value, field+"!="+`"`+value+`"`)
		}
	}
	return append(all,
		`name="a" OR name="b"`, `NOT name="a"`, `-name="a"`, `(name="a")`, `name="a" AND`, `AND name="a"`, `AND`, `name="a" and name:"b"`, `name`, `"a"`,
		`name="a" AND name="b"`, `name:"a" AND name:"b"`, `name=a`, `name='a'`, `name="a`, `name="a"b`, `name="a" -- x`, `name="a";`, `name="a"/*`, `name=""`,
		`name:*`, `name="a*b"`, `name="*a"`, `name="a\`, `name="a\n"`, `name in ("a")`, `name like "a%"`, `name = upper("a")`, `time>"2026-01-01T00:00:00Z"`,
		`time>="1"`, `time>="2026"`, `time>="2026-13-01T00:00:00Z"`, `time<="2026-01-01T00:00:00Z"`, `time="2026-01-01T00:00:00Z"`, `verb:"a"`, `target="a"`,
		strings.Repeat("(", 1000), strings.Repeat(`name="a" AND `, 70), strings.Repeat("a", 5000), `name="`+strings.Repeat("a", 2000)+`"`,
	)
}

func TestC9_HostileFiltersAreRefused(t *testing.T) {
	a := newAPI(t)
	fillLists(a)
	hostile := hostileFilters()
	if len(hostile) < 300 {
		t.Fatalf("only %d strings", len(hostile))
	}
	for path := range lists {
		for _, parameter := range []string{"filter", "order_by"} {
			for i, text := range hostile {
				if i%len(lists) != len(path)%len(lists) && parameter == "order_by" {
					continue // each of them somewhere is enough
				}
				got := a.call(400, "GET", path+"?"+parameter+"="+url.QueryEscape(text), "")
				all, err := json.Marshal(got)
				if why := reason(t, got); err != nil || why != "REQUEST_INVALID" || strings.Contains(strings.ToLower(string(all)), "sqlite") {
					t.Errorf("%s, %s %q: %s", path, parameter, text, all)
				}
			}
		}
	}
}
