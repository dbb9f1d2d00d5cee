// Package ociclient is a small client of the OCI distribution API whose caller
// decides each step: unlike a real client it never retries, so that an answer
// that got lost stays visible.
package ociclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/oci"
)

// Client speaks to one registry at Base ("http://127.0.0.1:5000"), as User, or
// with a Token, unless both are empty.
type Client struct {
	Base         string
	Host         string // sent in place of Base's; empty is Base's
	HTTP         *http.Client
	User, Secret string
	Token        string
}

// Answer is a response whose body has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends one request. Errors are *Lost; want lists the statuses that are no
// *Refused.
func (c *Client) Do(ctx context.Context, method, target string, body []byte, header http.Header, want ...int) (Answer, error) {
	res, err := c.send(ctx, method, target, bytes.NewReader(body), int64(len(body)), header)
	if err != nil {
		return Answer{}, err
	}
	return read(res, want...)
}

func (c *Client) send(ctx context.Context, method, target string, body io.Reader, size int64, header http.Header) (*http.Response, error) {
	if strings.HasPrefix(target, "/") {
		target = c.Base + target
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.Host = size, c.Host
	for k, v := range header {
		req.Header[k] = v
	}
	switch {
	case c.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.Token)
	case c.User != "":
		req.SetBasicAuth(c.User, c.Secret)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, &Lost{err}
	}
	return res, nil
}

// read reads the response to its end.
func read(res *http.Response, want ...int) (Answer, error) {
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, &Lost{err}
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Body: got}
	if slices.Contains(want, a.Status) {
		return a, nil
	}
	refused := &Refused{What: res.Request.Method + " " + res.Request.URL.Path, Status: a.Status, Body: string(got)}
	if a.Status >= http.StatusInternalServerError {
		return a, &Lost{refused}
	}
	return a, refused
}

// Resolve makes a Location absolute.
func (c *Client) Resolve(location string) (string, error) {
	base, err := url.Parse(c.Base)
	if err != nil {
		return "", err
	}
	u, err := base.Parse(location)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// HasBlob asks by HEAD.
func (c *Client) HasBlob(ctx context.Context, repo, digest string) (bool, error) {
	a, err := c.Do(ctx, http.MethodHead, "/v2/"+repo+"/blobs/"+digest, nil, nil, http.StatusOK, http.StatusNotFound)
	return a.Status == http.StatusOK, err
}

// Blob reads a blob; ok is false when the registry has none.
func (c *Client) Blob(ctx context.Context, repo, digest string) ([]byte, bool, error) {
	a, err := c.Do(ctx, http.MethodGet, "/v2/"+repo+"/blobs/"+digest, nil, nil, http.StatusOK, http.StatusNotFound)
	return a.Body, a.Status == http.StatusOK, err
}

// OpenBlob reads a blob as it comes; the caller closes it.
func (c *Client) OpenBlob(ctx context.Context, repo, digest string) (io.ReadCloser, error) {
	res, err := c.send(ctx, http.MethodGet, "/v2/"+repo+"/blobs/"+digest, nil, 0, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	_, err = read(res)
	return nil, err
}

// PostBlob uploads in one request.
func (c *Client) PostBlob(ctx context.Context, repo, digest string, content []byte) error {
	_, err := c.Do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+url.QueryEscape(digest), content,
		http.Header{"Content-Type": {"application/octet-stream"}}, http.StatusCreated)
	return err
}

// Mount links a blob of another repository; false means that the registry
// opened an upload instead, whose location is returned.
func (c *Client) Mount(ctx context.Context, repo, digest, from string) (bool, string, error) {
	q := url.Values{"mount": {digest}, "from": {from}}
	a, err := c.Do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?"+q.Encode(), nil, nil, http.StatusCreated, http.StatusAccepted)
	if err != nil || a.Status == http.StatusCreated {
		return err == nil, "", err
	}
	location, err := c.Resolve(a.Header.Get("Location"))
	return false, location, err
}

// Open starts an upload and returns its location.
func (c *Client) Open(ctx context.Context, repo string) (string, error) {
	a, err := c.Do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil, nil, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	return c.Resolve(a.Header.Get("Location"))
}

// Patch sends a chunk that starts at offset and returns the next location.
func (c *Client) Patch(ctx context.Context, location string, offset int, chunk []byte) (string, error) {
	a, err := c.Do(ctx, http.MethodPatch, location, chunk, http.Header{
		"Content-Type":  {"application/octet-stream"},
		"Content-Range": {fmt.Sprintf("%d-%d", offset, offset+len(chunk)-1)},
	}, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	return c.Resolve(a.Header.Get("Location"))
}

// Stream sends size bytes in one request and returns the next location.
func (c *Client) Stream(ctx context.Context, location string, content io.Reader, size int64) (string, error) {
	res, err := c.send(ctx, http.MethodPatch, location, content, size, http.Header{"Content-Type": {"application/octet-stream"}})
	if err != nil {
		return "", err
	}
	a, err := read(res, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	return c.Resolve(a.Header.Get("Location"))
}

// Offset asks how many bytes an upload holds.
func (c *Client) Offset(ctx context.Context, location string) (int, string, error) {
	a, err := c.Do(ctx, http.MethodGet, location, nil, nil, http.StatusNoContent)
	if err != nil {
		return 0, "", err
	}
	next, err := c.Resolve(a.Header.Get("Location"))
	if err != nil {
		return 0, "", err
	}
	_, last, ok := strings.Cut(a.Header.Get("Range"), "-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		return 0, "", &Refused{What: "Range of an upload", Status: a.Status, Body: a.Header.Get("Range")}
	}
	if n == 0 { // "0-0" is an empty session or one byte; to send from 0 is right only for the first
		return 0, next, nil
	}
	return n + 1, next, nil
}

// Close ends an upload with its last bytes.
func (c *Client) Close(ctx context.Context, location, digest string, content []byte) error {
	u, err := url.Parse(location)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("digest", digest)
	u.RawQuery = q.Encode()
	_, err = c.Do(ctx, http.MethodPut, u.String(), content, http.Header{"Content-Type": {"application/octet-stream"}}, http.StatusCreated)
	return err
}

// Cancel ends an upload without keeping anything; false means there was none.
func (c *Client) Cancel(ctx context.Context, location string) (bool, error) {
	a, err := c.Do(ctx, http.MethodDelete, location, nil, nil, http.StatusNoContent, http.StatusNotFound)
	return a.Status == http.StatusNoContent, err
}

// DeleteBlob takes a blob out of a repository; false means there was none.
func (c *Client) DeleteBlob(ctx context.Context, repo, digest string) (bool, error) {
	a, err := c.Do(ctx, http.MethodDelete, "/v2/"+repo+"/blobs/"+digest, nil, nil, http.StatusAccepted, http.StatusNotFound)
	return a.Status == http.StatusAccepted, err
}

// PutManifest pushes under a tag or a digest.
func (c *Client) PutManifest(ctx context.Context, repo, reference string, content []byte) error {
	return c.put(ctx, repo, reference, oci.MediaTypeImageManifest, content)
}

// PutIndex pushes an image index under a tag or a digest.
func (c *Client) PutIndex(ctx context.Context, repo, reference string, content []byte) error {
	return c.put(ctx, repo, reference, oci.MediaTypeImageIndex, content)
}

func (c *Client) put(ctx context.Context, repo, reference, mediaType string, content []byte) error {
	_, err := c.Do(ctx, http.MethodPut, "/v2/"+repo+"/manifests/"+reference, content, http.Header{"Content-Type": {mediaType}}, http.StatusCreated)
	return err
}

// Referrers are the digests of the manifests whose subject is digest, as far as
// the first page goes.
func (c *Client) Referrers(ctx context.Context, repo, digest string) ([]string, error) {
	a, err := c.Do(ctx, http.MethodGet, "/v2/"+repo+"/referrers/"+digest, nil, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(a.Body, &index); err != nil {
		return nil, err
	}
	digests := make([]string, len(index.Manifests))
	for i, m := range index.Manifests {
		digests[i] = m.Digest
	}
	return digests, nil
}

// Manifest reads an image manifest or index by tag or digest; ok is false when
// there is none.
func (c *Client) Manifest(ctx context.Context, repo, reference string) ([]byte, bool, error) {
	a, err := c.Do(ctx, http.MethodGet, "/v2/"+repo+"/manifests/"+reference, nil,
		http.Header{"Accept": {oci.MediaTypeImageManifest, oci.MediaTypeImageIndex}}, http.StatusOK, http.StatusNotFound)
	return a.Body, a.Status == http.StatusOK, err
}

// DeleteManifest deletes a tag or a manifest; false means there was none.
func (c *Client) DeleteManifest(ctx context.Context, repo, reference string) (bool, error) {
	a, err := c.Do(ctx, http.MethodDelete, "/v2/"+repo+"/manifests/"+reference, nil, nil, http.StatusAccepted, http.StatusNotFound)
	return a.Status == http.StatusAccepted, err
}
