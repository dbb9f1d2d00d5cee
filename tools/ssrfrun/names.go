package main

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/net/dns/dnsmessage"
)

// rebound leads outside when it is asked for first, and inside then, and so on.
const rebound = "rebound.test."

// names is the name server of the namespace.
type names struct{ asked atomic.Int64 }

func serveNames(ctx context.Context) error {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", resolverAddr+":53")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go (&names{}).serve(conn)
	return nil
}

func (n *names) serve(conn net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Header.Response, m.Header.Authoritative = true, true
		m.Additionals = nil
		m.Answers = n.answers(m.Questions[0])
		if packed, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}

func (n *names) answers(q dnsmessage.Question) []dnsmessage.Resource {
	var found []dnsmessage.Resource
	add := func(name string, addrs ...string) {
		for _, text := range addrs {
			if r, ok := record(name, netip.MustParseAddr(text), q.Type); ok {
				found = append(found, r)
			}
		}
	}
	name := q.Name.String()
	switch name {
	case rebound:
		if q.Type == dnsmessage.TypeA && n.asked.Add(1)%2 == 1 {
			add(name, outside)
		} else {
			add(name, "10.0.0.1", "fd00:ec2::254")
		}
	case "mixed.test.":
		add(name, "192.168.0.1", "fc00::1", "169.254.169.254")
	case "cname.test.":
		to := nameOf("169.254.169.254") + "."
		found = append(found, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeCNAME, Class: q.Class},
			Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)},
		})
		add(to, "169.254.169.254")
	case "metadata.google.internal.":
		add(name, "169.254.169.254")
	case "outside.test.":
		add(name, outside)
	default:
		if addr, ok := addrOf(name); ok {
			add(name, addr.String())
		}
	}
	return found
}

// record is of the type that was asked for, or none.
func record(name string, addr netip.Addr, of dnsmessage.Type) (dnsmessage.Resource, bool) {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: of, Class: dnsmessage.ClassINET}
	switch {
	case addr.Is4() && of == dnsmessage.TypeA:
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}, true
	case addr.Is6() && of == dnsmessage.TypeAAAA:
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}, true
	default:
		return dnsmessage.Resource{}, false
	}
}
