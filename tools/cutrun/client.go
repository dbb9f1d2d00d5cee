package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// client pulls the blob: all at once, or in two ranges.
func (s scenario) client(ctx context.Context, http *http.Client, addr string, c *content, i int) error {
	if i%10 != 9 {
		return s.get(ctx, http, addr, c, 0, s.size, "")
	}
	middle := s.size/3 + int64(i)
	if err := s.get(ctx, http, addr, c, middle, s.size, fmt.Sprintf("bytes=%d-", middle)); err != nil {
		return err
	}
	return s.get(ctx, http, addr, c, 0, middle, fmt.Sprintf("bytes=0-%d", middle-1))
}

// get reads the bytes from start to end, and compares them.
func (s scenario) get(ctx context.Context, client *http.Client, addr string, c *content, start, end int64, ranges string) error {
	_, port, _ := strings.Cut(addr, ":")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v2/library/app/blobs/"+c.digest.String(), http.NoBody)
	if err != nil {
		return err
	}
	r.Host = "acme.localhost:" + port
	want := http.StatusOK
	if ranges != "" {
		r.Header.Set("Range", ranges)
		want = http.StatusPartialContent
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	right := c.from(start)
	got, expected := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := start; ; {
		n, err := io.ReadFull(resp.Body, got)
		if _, bad := io.ReadFull(right, expected[:n]); bad != nil || !bytes.Equal(got[:n], expected[:n]) || at+int64(n) > end {
			return fmt.Errorf("other bytes at %d", at)
		}
		at += int64(n)
		switch {
		case err == nil:
		case at == end && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && resp.ContentLength == end-start:
			return nil
		default:
			return fmt.Errorf("at byte %d of %d: %w", at, end, err)
		}
	}
}
