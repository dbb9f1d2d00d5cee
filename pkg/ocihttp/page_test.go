package ocihttp_test

import (
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// TestA8_ListSizesClamp: any number of digits clamps, all else is refused.
func TestA8_ListSizesClamp(t *testing.T) {
	const refused = -1
	for n, want := range map[string]int{
		"0": 0, "1": 1, "007": 7, "999": 999, "1000": 1000, "1001": 1000, "2147483648": 1000, "1000000000000000000": 1000, "9223372036854775808": 1000,
		"18446744073709551616": 1000, strings.Repeat("9", 4000): 1000,
		"": refused, "-1": refused, "-0": refused, "-9223372036854775809": refused, "+5": refused, "1e18": refused, "1.5": refused, "0x10": refused, "1_000": refused,
		" 1": refused, "1 ": refused, "ten": refused, "NaN": refused, "١": refused, "1\x00": refused, "1;2": refused, "1,2": refused, "all": refused,
	} {
		page, err := ocihttp.ParsePage(url.Values{"n": {n}})
		switch {
		case want == refused:
			if !fault.Is(err, fault.RequestInvalid) || fault.KindOf(err) != fault.Invalid || page != (ocihttp.Page{}) {
				t.Errorf("n=%.40q: %+v, %v; want 400", n, page, err)
			}
		case err != nil || page.N != want:
			t.Errorf("n=%.40q: %+v, %v; want %d", n, page, err, want)
		}
	}
	if page, err := ocihttp.ParsePage(nil); err != nil || page != (ocihttp.Page{N: ocihttp.MaxPage}) {
		t.Errorf("no parameters: %+v, %v", page, err)
	}
}

func TestA8_Last(t *testing.T) {
	for _, last := range []string{"", "latest", "a/b", digest512, "~", "a b", strings.Repeat("z", 255)} {
		if page, err := ocihttp.ParsePage(url.Values{"last": {last}}); err != nil || page.Last != last {
			t.Errorf("last=%q: %+v, %v", last, page, err)
		}
	}
	for _, last := range []string{strings.Repeat("z", 256), strings.Repeat("z", 8000), "\x00", "a\n", "é", "\xff", "\x7f"} {
		if page, err := ocihttp.ParsePage(url.Values{"last": {last}}); !fault.Is(err, fault.RequestInvalid) {
			t.Errorf("last=%.40q: %+v, %v; want 400", last, page, err)
		}
	}
	for _, q := range []url.Values{{"n": {"1", "2"}}, {"last": {"a", "b"}}} {
		if page, err := ocihttp.ParsePage(q); !fault.Is(err, fault.RequestInvalid) {
			t.Errorf("%v: %+v, %v; want 400", q, page, err)
		}
	}
}

func TestA8_QueryLimits(t *testing.T) {
	parameters := func(n int) string { return strings.TrimSuffix(strings.Repeat("tag=a&", n), "&") }
	for raw, ok := range map[string]bool{
		"":                                    true,
		"n=1&last=a%2Fb":                      true,
		parameters(ocihttp.MaxParameters):     true,
		parameters(ocihttp.MaxParameters + 1): false,
		strings.Repeat("&", 8000):             false,
		"a=" + strings.Repeat("b", 8190):      true,
		"a=" + strings.Repeat("b", 8191):      false,
		"a=%zz":                               false,
		"a=%":                                 false,
		"a=1;b=2":                             false,
		strings.Repeat("last=a&", 1_000_000):  false,
		"last=" + strings.Repeat("a", 16<<20): false,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		q, err := ocihttp.ParseQuery(raw)
		runtime.ReadMemStats(&after)
		if ok != (err == nil) || !ok && !fault.Is(err, fault.RequestInvalid) {
			t.Errorf("ParseQuery(%.60q): %d keys, %v", raw, len(q), err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("ParseQuery(%.60q) allocated %d bytes", raw, used)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	for _, raw := range []string{"", "n=0", "n=1e18", "n=-1", "n=99999999999999999999", "n=5&last=a%2Fb", "n=1&n=2", "last=%00", "n=%", "last=" + strings.Repeat("z", 300)} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ocihttp.ParseQuery(raw)
		if err != nil {
			wantBadRequest(t, err)
			return
		}
		page, err := ocihttp.ParsePage(q)
		if err != nil {
			wantBadRequest(t, err)
			return
		}
		if page.N < 0 || page.N > ocihttp.MaxPage || len(page.Last) > 255 {
			t.Fatalf("%q: %+v", raw, page)
		}
		if strings.ContainsAny(strings.TrimPrefix(ocihttp.NextLink("/v2/_catalog", q), "<"), "\r\n<") {
			t.Fatalf("%q breaks out of the Link header: %q", raw, ocihttp.NextLink("/v2/_catalog", q))
		}
	})
}

func wantBadRequest(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.RequestInvalid) || fault.KindOf(err) != fault.Invalid {
		t.Fatalf("%v; want 400", err)
	}
}

func ExampleNextLink() {
	q := url.Values{"n": {"2"}, "last": {"v1.1"}}
	fmt.Println(ocihttp.NextLink("/v2/app/tags/list", q))
	// Output: </v2/app/tags/list?last=v1.1&n=2>; rel="next"
}
