package boot

import (
	"slices"
	"testing"
)

func TestS67_NetworksHavePortsAndTenants(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.0.0.0/8:443": "", "10.0.0.0/8:443,5000": "", "10.0.0.0/8:*": "", "127.0.0.1/32:5001": "",
		"fd00::/8": "", "[fd00::/8]:443": "", "[fd00::/8]": "fd00::/8", "acme@10.0.0.0/8": "", "acme@[fd00::/8]:443,5000": "", "acme@10.0.0.0/8:*": "",
	} {
		if want == "" {
			want = text
		}
		var n Network
		if err := n.UnmarshalText([]byte(text)); err != nil || n.String() != want {
			t.Errorf("%s: %q, %v", text, n, err)
		}
	}
	for _, text := range []string{
		"", "10.0.0.0", "10.0.0.0:443", "10.0.0.0/33", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:443,", "10.0.0.0/8:443;5000", "10.0.0.0/8:*,443",
		"[fd00::/8]:", "[fd00::/8]443", "[fd00::/8", "fd00::/8:443x", "@10.0.0.0/8", "acme@", "a@b@10.0.0.0/8", "10.0.0.0/8:-1", "443",
	} {
		var n Network
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, n)
		}
	}
	loaded, err := Load(Sources{Environ: []string{"BERTH_UPSTREAM_ALLOW=10.0.0.0/8:443,5000, acme@127.0.0.1/32:5001,[fd00::/8]:443"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range loaded.UpstreamAllow {
		got = append(got, n.String())
	}
	if want := []string{"10.0.0.0/8:443,5000", "acme@127.0.0.1/32:5001", "[fd00::/8]:443"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
