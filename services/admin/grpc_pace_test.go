package admin

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A call over gRPC whose message does not come ends, with or without a credential, and
// so does a stream on which nothing is asked.
func TestS5_CallsThatStopEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(_ *Config, o *Options) { o.Patience = 300 * time.Millisecond })
	for name, c := range map[string]struct{ path, authorization string }{
		"health":     {"/grpc.health.v1.Health/Check", ""},
		"operation":  {"/berth.admin.v1.AdminService/ListTenants", "Bearer " + operatorToken},
		"reflection": {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "Bearer " + operatorToken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status := stoppedCall(t, a.addr, c.path, c.authorization); status == "0" {
				t.Errorf("the call ended well")
			}
		})
	}
	// Others continue.
	if got := rawCall(t, a.addr, "/berth.admin.v1.AdminService/ListTenants", "Bearer "+operatorToken); got != "0" {
		t.Errorf("status %s", got)
	}
}

// stoppedCall sends the header and a part of the message, and returns how the call ends.
func stoppedCall(t *testing.T, addr, path, authorization string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", addr},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"authorization", authorization},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to memory
	}
	_ = framer.WriteSettings() // what fails is found by reading
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, false, []byte{0, 0, 0, 0, 100, 1})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("the call never ends: %v", err)
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					return h.Value
				}
			}
		case *http2.RSTStreamFrame:
			return "reset"
		}
	}
}
