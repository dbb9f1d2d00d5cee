package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

var gzipMagic = []byte{0x1f, 0x8b}

// decode undoes the gzip that some hosts put on what was asked for as it is. Others only
// say that they did, since the content is a gzip itself: what does not look like one,
// and a blob of the length that it should have, is taken as it is (contract row T8).
// size is that of a blob, -1 where it is not known; 0 for a document, which is no gzip.
func (c *Client) decode(resp *http.Response, size int64) error {
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
	default:
		_ = resp.Body.Close()
		return c.outage(nil, "sent an answer in an encoding that was not asked for")
	}
	if resp.Request.Method == http.MethodHead {
		resp.ContentLength = -1 // it may be that of the gzip
		return nil
	}
	if length := resp.ContentLength; size != 0 && length >= 0 && (size < 0 || length == size) {
		return nil
	}
	body := bufio.NewReader(resp.Body)
	if start, _ := body.Peek(len(gzipMagic)); !bytes.Equal(start, gzipMagic) {
		resp.Body = readCloser{body, resp.Body}
		return nil
	}
	plain, err := gzip.NewReader(body)
	if err != nil {
		_ = resp.Body.Close()
		return c.outage(err, "sent an answer that is no gzip, and says that it is one")
	}
	resp.Body, resp.ContentLength = readCloser{plain, resp.Body}, -1
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
