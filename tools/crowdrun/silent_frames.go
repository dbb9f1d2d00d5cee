package main

import (
	"bytes"
	"net/http"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// halfFrame is a frame of headers that ends early.
const halfFrame = "\x00\x10\x00\x01\x04\x00\x00\x00\x01half"

// frames is the beginning of a connection of HTTP/2.
func frames(then func(*http2.Framer) error) string {
	var text bytes.Buffer
	text.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&text, nil)
	_ = f.WriteSettings() // to memory, as all here
	_ = then(f)
	return text.String()
}

func noFrame(*http2.Framer) error { return nil }

func pingFrame() string {
	var text bytes.Buffer
	_ = http2.NewFramer(&text, nil).WritePing(false, [8]byte{})
	return text.String()
}

// headers are those of a request, as HPACK writes them without its table: each block
// stands by itself.
func headers(fields ...string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSizeLimit(0)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return block.Bytes()
}

func requestHeaders(method string) []byte {
	return headers(":method", method, ":scheme", "https", ":path", "/token", ":authority", "localhost", "content-type", "application/x-www-form-urlencoded")
}

// request is one, whose body has not ended unless end is given.
func request(method string, stream uint32, end bool) func(*http2.Framer) error {
	return func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: requestHeaders(method), EndHeaders: true, EndStream: end})
	}
}

// noEnd is a request of which half of the body comes.
func noEnd(f *http2.Framer) error {
	_ = request(http.MethodPost, 1, false)(f)
	return f.WriteData(1, false, []byte("a"))
}

// noEnds are a hundred.
func noEnds(f *http2.Framer) error {
	for i := range uint32(100) {
		_ = request(http.MethodPost, 2*i+1, false)(f)
	}
	return nil
}

// halfHeader is one that is never continued.
func halfHeader(f *http2.Framer) error {
	block := requestHeaders(http.MethodGet)
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:len(block)/2]})
}

// noWindow asks for what the server may not send.
func noWindow(f *http2.Framer) error {
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	return request(http.MethodGet, 1, true)(f)
}

// manyRequests have larger answers than a client that reads nothing can take.
func manyRequests(host string) func(*http2.Framer) error {
	return func(f *http2.Framer) error {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = f.WriteWindowUpdate(0, 1<<30)
		block := headers(":method", http.MethodGet, ":scheme", "https", ":path", silentLarge, ":authority", host)
		for i := range uint32(300) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		}
		return nil
	}
}

func callHeaders() []byte {
	return headers(":method", "POST", ":scheme", "http", ":path", "/grpc.health.v1.Health/Check", ":authority", "localhost", "content-type", "application/grpc", "te", "trailers")
}

// halfMessage is a call of which only a part of the message comes.
func halfMessage(f *http2.Framer) error {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: callHeaders(), EndHeaders: true})
	return f.WriteData(1, false, []byte{0, 0, 0, 0, 100, 1, 2})
}

// manyCalls have more answers than a client that reads nothing can take.
func manyCalls(f *http2.Framer) error {
	for i := range uint32(10_000) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: callHeaders(), EndHeaders: true})
		_ = f.WriteData(2*i+1, true, make([]byte, 5))
	}
	return nil
}
