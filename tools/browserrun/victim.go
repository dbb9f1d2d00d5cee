package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/server"
)

// victim is the server under attack, and what it holds.
type victim struct {
	data, admin, ops, grpc string
	token                  []byte
	before                 map[string]string // counts of operations
}

// secretTag is a tag that no page may read.
const secretTag = "keep-this-to-yourself"

func (v *victim) listeners() map[string]string {
	return map[string]string{"data": host(v.data), "admin": host(v.admin), "grpc": host(v.grpc), "ops": host(v.ops)}
}

func (v *victim) start(ctx context.Context, s *server.Server) error {
	if err := s.Start(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.LogTail())
	}
	return nil
}

// fill pushes an image without an account, as a developer does.
func (v *victim) fill(ctx context.Context) error {
	status, body, err := v.do(ctx, http.MethodPut, "http://"+host(v.data)+"/v2/private/app/manifests/"+secretTag, string(ocitest.Index().Bytes))
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("the push of this program itself is answered %d: %s", status, body)
	}
	if err == nil {
		v.before, err = v.operations(ctx)
	}
	return err
}

// changes is what differs from what was there after fill.
func (v *victim) changes(ctx context.Context) ([]string, error) {
	after, err := v.operations(ctx) // first: the rest counts, too
	if err != nil {
		return nil, err
	}
	var found []string
	for op, n := range after {
		if n != v.before[op] {
			found = append(found, fmt.Sprintf("the operation %s ran: %s times, before %s", op, n, v.before[op]))
		}
	}
	for _, c := range []struct{ url, want string }{
		{"http://" + host(v.data) + "/v2/_catalog", `{"repositories":["private/app"]}`},
		{"http://" + host(v.data) + "/v2/private/app/tags/list", `{"name":"private/app","tags":["` + secretTag + `"]}`},
	} {
		if _, body, err := v.do(ctx, http.MethodGet, c.url, ""); err != nil {
			return nil, err
		} else if strings.TrimSpace(body) != c.want {
			found = append(found, fmt.Sprintf("%s is now %s", c.url, body))
		}
	}
	if _, body, err := v.do(ctx, http.MethodGet, "http://"+host(v.admin)+"/v1/tenants", ""); err != nil {
		return nil, err
	} else if strings.Count(body, `"name":`) != 1 {
		found = append(found, "the tenants are now "+body)
	}
	return found, nil
}

// operations are the counts of those that clients ask for, by name.
func (v *victim) operations(ctx context.Context) (map[string]string, error) {
	_, body, err := v.do(ctx, http.MethodGet, "http://"+host(v.ops)+"/metrics", "")
	if err != nil {
		return nil, err
	}
	counts := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		name, n, _ := strings.Cut(lines.Text(), " ")
		for _, op := range []string{"Manifest", "Blob", "Upload", "Tags", "Repositories", "Referrers", "Token", "Tenant", "Registry", "Session", "Operator"} {
			if strings.HasPrefix(name, "berth_operation_seconds_count{") && strings.Contains(name, op) {
				counts[name] = n
			}
		}
	}
	return counts, lines.Err()
}

func (v *victim) do(ctx context.Context, method, url, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	if strings.Contains(url, "/v1/") {
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(v.token)))
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
