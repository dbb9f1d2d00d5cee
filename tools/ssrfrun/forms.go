package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// inside are addresses that no upstream may lead to: machines of the network that
// Berth is in, and of its cloud.
var inside = []string{
	"127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.1",
	"100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255",
}

// inside6 are those that have no address of IPv4.
var inside6 = []string{"::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2001::1", "2001:db8::1", "3fff::1"}

// outside is public: that it is connected to shows that the sink counts.
const outside = "93.184.216.34"

// allowedNetwork is one that upstreams may be in. Answers of others lead to no
// host there anyway (contract row S69).
const allowedNetwork = "10.200.0.0/16"

func allowedForms() []form {
	var found []form
	for _, host := range []string{"10.200.0.1", "10.200.0.1:5000", nameOf("10.200.0.1")} {
		found = append(found, form{"http", host}, form{"https", host})
	}
	return found
}

// form is a way to write where to connect to.
type form struct{ scheme, authority string }

func (f form) url() string { return f.scheme + "://" + f.authority }

// forms are all of them, and names is what the names in them lead to.
func forms() []form {
	var hosts []string
	for _, text := range inside {
		hosts = append(hosts, spellings(text)...)
	}
	for _, text := range inside6 {
		hosts = append(hosts, "["+text+"]", "["+strings.ToUpper(text)+"]", nameOf(text))
	}
	hosts = append(hosts, "[fe80::1%25lo]", "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "foo.localhost",
		"mixed.test", "cname.test", "metadata.google.internal")
	all := make([]form, 0, 2*len(hosts))
	for _, h := range hosts {
		all = append(all, form{"http", h}, form{"https", h})
	}
	for _, port := range []string{":2375", ":6379", ":8080", ":443", ":0", ":65536", ":"} {
		all = append(all, form{"http", "10.0.0.1" + port}, form{"https", nameOf("10.0.0.1") + port})
	}
	for _, user := range []string{"ghcr.io@", "ghcr.io:443@", "user:password@"} {
		all = append(all, form{"http", user + "10.0.0.1"}, form{"https", user + nameOf("169.254.169.254")})
	}
	return append(all, form{"http", `ghcr.io\@10.0.0.1`}, form{"http", "10.0.0.1#ghcr.io"}, form{"http", "10.0.0.1?ghcr.io"}, form{"gopher", "10.0.0.1"},
		form{"file", "/etc/passwd"}, form{"ftp", "10.0.0.1"}, form{"unix", "/var/run/docker.sock"}, form{"HTTP", "10.0.0.1"}, form{"", "10.0.0.1"})
}

// plainForms are those that name a place in the one way that URLs of upstreams take: all
// others are refused before it matters how the upstream would be reached.
func plainForms() []form {
	hosts := []string{"localhost", "foo.localhost", "ip6-localhost", "mixed.test", "cname.test", "metadata.google.internal"}
	for _, text := range inside {
		hosts = append(hosts, text, nameOf(text))
	}
	for _, text := range inside6 {
		hosts = append(hosts, "["+text+"]", nameOf(text))
	}
	var all []form
	for _, h := range hosts {
		all = append(all, form{"http", h}, form{"https", h})
	}
	return all
}

// spellings are what resolvers, browsers and libraries have been known to take
// for the address.
func spellings(text string) []string {
	addr := netip.MustParseAddr(text)
	b := addr.As4()
	n := binary.BigEndian.Uint32(b[:])
	hex := fmt.Sprintf("%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
	return []string{
		text, text + ".", nameOf(text),
		strconv.FormatUint(uint64(n), 10), fmt.Sprintf("0x%08x", n), fmt.Sprintf("0X%X", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]), fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], n&0xffff), fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
		"[::ffff:" + text + "]", "[::ffff:" + hex + "]", "[0:0:0:0:0:ffff:" + hex + "]", "[::" + text + "]", "[::ffff:0:" + text + "]",
		"[64:ff9b::" + hex + "]", "[64:ff9b:1::" + hex + "]", "[2002:" + hex + "::1]",
		strings.ReplaceAll(text, ".", "。"), "%31" + strings.TrimPrefix(text, "1"),
	}
}

// nameOf is a name that leads to the address.
func nameOf(text string) string {
	return strings.NewReplacer(".", "-", ":", "x").Replace(text) + ".addr.test"
}

// addrOf is the address that a name of nameOf leads to.
func addrOf(name string) (netip.Addr, bool) {
	label, ok := strings.CutSuffix(name, ".addr.test.")
	if !ok {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(strings.NewReplacer("-", ".", "x", ":").Replace(label))
	return addr, err == nil
}
