package ocihttp_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string][2]int64{
		"0-0":                   {0, 0},
		"0-1023":                {0, 1023},
		"1024-2047":             {1024, 2047},
		"bytes 0-9/*":           {0, 9},
		"bytes 0-9/10":          {0, 9},
		"bytes 5-9":             {5, 9},
		"007-08":                {7, 8},
		"0-9223372036854775806": {0, math.MaxInt64 - 1},
		"1-9223372036854775806": {1, math.MaxInt64 - 1},
	} {
		start, end, err := ocihttp.ParseContentRange(s)
		if err != nil || start != want[0] || end != want[1] {
			t.Errorf("ParseContentRange(%q) = %d, %d, %v; want %v", s, start, end, err, want)
		}
	}
	for _, s := range []string{
		"", "-", "0", "0-", "-0", "0--1", "-1-0", "1-0", "+0-1", "0-+1", " 0-1", "0-1 ", "0 - 1", "0-1-2", "0-1,2-3", "0x0-0x1", "0-1e3", "a-b", "0_0-1", "٠-١",
		"0-9223372036854775807", "0-9223372036854775808", "0-18446744073709551616", "18446744073709551616-18446744073709551617",
		"bytes=0-1", "bytes", "bytes ", "bytes */10", "bytes -1/2", "Bytes 0-1/2", "items 0-1/2", "0-1/2", "0-1\x00", "0\x00-1",
	} {
		start, end, err := ocihttp.ParseContentRange(s)
		if !fault.Is(err, fault.BlobUploadInvalid) || fault.KindOf(err) != fault.Invalid || start != 0 || end != 0 {
			t.Errorf("ParseContentRange(%q) = %d, %d, %v; want BLOB_UPLOAD_INVALID", s, start, end, err)
		}
	}
}

func TestParsePartRange(t *testing.T) {
	for s, want := range map[string][3]int64{
		"bytes 0-9/10":     {0, 9, 10},
		"bytes 5-9/100":    {5, 9, 100},
		"bytes 5-9/*":      {5, 9, -1},
		"Bytes 0-0/1":      {0, 0, 1},
		"bytes 007-08/010": {7, 8, 10},
	} {
		start, end, size, ok := ocihttp.ParsePartRange(s)
		if !ok || start != want[0] || end != want[1] || size != want[2] {
			t.Errorf("ParsePartRange(%q) = %d, %d, %d, %v; want %v", s, start, end, size, ok, want)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes ", "0-9/10", "bytes=0-9/10", "items 0-9/10", "bytes */10", "bytes 0-9", "bytes 0-9/", "bytes 0-/10", "bytes -9/10",
		"bytes 9-0/10", "bytes 0-10/10", "bytes 0-9/9", "bytes 0-9/-1", "bytes 0-9/**", "bytes +0-9/10", "bytes  0-9/10", "bytes 0-9/10 ", "bytes 0-9/10, 20-29/30",
		"bytes 0-9223372036854775807/*", "bytes 0-9/9223372036854775808",
	} {
		if start, end, size, ok := ocihttp.ParsePartRange(s); ok || start != 0 || end != 0 || size != 0 {
			t.Errorf("ParsePartRange(%q) = %d, %d, %d, %v", s, start, end, size, ok)
		}
	}
}

func FuzzParsePartRange(f *testing.F) {
	for _, s := range []string{"", "bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-0/10", "bytes 0-9223372036854775806/9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, size, ok := ocihttp.ParsePartRange(s)
		if ok && (start < 0 || end < start || end-start+1 <= 0 || size < -1 || size >= 0 && size <= end) {
			t.Fatalf("ParsePartRange(%q) = %d, %d, %d", s, start, end, size)
		}
	})
}

func TestFormatUploadRange(t *testing.T) {
	for offset, want := range map[int64]string{-1: "0-0", 0: "0-0", 1: "0-0", 2: "0-1", 1024: "0-1023", math.MaxInt64: "0-9223372036854775806"} {
		if got := ocihttp.FormatUploadRange(offset); got != want {
			t.Errorf("FormatUploadRange(%d) = %q, want %q", offset, got, want)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"", "0-0", "0-1023", "bytes 0-9/*", "bytes 0-9/10", "0-9223372036854775807", "-1-2", "1-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, err := ocihttp.ParseContentRange(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("ParseContentRange(%q) = %v", s, err)
			}
			return
		}
		if start < 0 || end < start || end-start+1 <= 0 {
			t.Fatalf("ParseContentRange(%q) = %d, %d", s, start, end)
		}
		if a, b, err := ocihttp.ParseContentRange(fmt.Sprintf("%d-%d", start, end)); err != nil || a != start || b != end {
			t.Fatalf("%d-%d comes back as %d-%d, %v", start, end, a, b, err)
		}
	})
}

func ExampleParseContentRange() {
	start, end, err := ocihttp.ParseContentRange("1024-2047")
	fmt.Println(start, end, err)
	fmt.Println(ocihttp.FormatUploadRange(end + 1))
	// Output:
	// 1024 2047 <nil>
	// 0-2047
}
