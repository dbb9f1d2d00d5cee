package main

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestSummaryNamesVerbAndTable(t *testing.T) {
	for query, want := range map[string]string{
		"BEGIN": "BEGIN",
		"\nINSERT INTO tags (tenant_id)\nSELECT r.id FROM open_repositories r":                "INSERT tags",
		"UPDATE objects o SET state = 'L' FROM uploads u":                                     "UPDATE objects",
		"DELETE FROM repo_blobs WHERE true":                                                   "DELETE repo_blobs",
		"SELECT g.name\n  FROM open_repositories r FOR UPDATE OF g":                           "SELECT open_repositories",
		"WITH due AS (SELECT 1 FROM uploads FOR UPDATE SKIP LOCKED) UPDATE objects SET x = 1": "UPDATE objects in a query",
		"WITH a AS (SELECT 1 FROM b) SELECT 2 FROM a":                                         "WITH",
		"": "an empty query",
	} {
		if got := summary(query); got != want {
			t.Errorf("%q is called %q, want %q", query, got, want)
		}
	}
}

func TestCallsOfS3(t *testing.T) {
	for request, want := range map[string]string{
		"HEAD /b": "HeadBucket", "GET /b?list-type=2": "ListObjectsV2", "HEAD /b/o/1/k": "HeadObject", "PUT /b/o/1/k": "PutObject",
		"POST /b/o/1/k?uploads=": "CreateMultipartUpload", "PUT /b/o/1/k?partNumber=1&uploadId=u": "UploadPart",
		"POST /b/o/1/k?uploadId=u": "CompleteMultipartUpload", "DELETE /b/o/1/k?uploadId=u": "AbortMultipartUpload",
		"DELETE /b/o/1/k": "DeleteObject", "PUT /b": "PUT of a bucket",
	} {
		method, target, _ := bytes.Cut([]byte(request), []byte(" "))
		if got := callOf(httptest.NewRequest(string(method), string(target), nil)); got != want {
			t.Errorf("%s is called %s, want %s", request, got, want)
		}
	}
}

// TestHeldAnswers passes a batch through a connection: its statements are named
// before the server has them, its answer as a whole, before the node has any.
func TestHeldAnswers(t *testing.T) {
	const parse, bind, execute, sync = "P\x00\x00\x00\x22s\x00UPDATE usage SET used = 1\x00\x00\x00", "B\x00\x00\x00\x0d\x00s\x00\x00\x00\x00\x00\x00\x00", "E\x00\x00\x00\x09\x00\x00\x00\x00\x00", "S\x00\x00\x00\x04"
	const greeting, done, ready = "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I", "C\x00\x00\x00\x0dUPDATE 1\x00", "Z\x00\x00\x00\x05I"
	for name, c := range map[string]struct {
		kill     string
		toServer string
		toNode   string
		steps    int
	}{
		"nothing is killed":    {"", parse + bind + execute + sync, greeting + done + ready, 2},
		"before the statement": {"before UPDATE usage", parse + bind, "", 1},
		"after the answer":     {"after UPDATE usage", parse + bind + execute + sync, greeting, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var steps []string
			conn := newPostgresConn(func(step string) bool {
				steps = append(steps, step)
				return step == c.kill
			})
			startup := "\x00\x00\x00\x10\x00\x03\x00\x00user\x00x\x00\x00"
			var toServer, toNode bytes.Buffer
			conn.requests(pgproto3.NewBackend(strings.NewReader(startup+parse+bind+execute+sync), nil), pgproto3.NewFrontend(nil, &toServer))
			if got := toServer.String(); got != startup+c.toServer {
				t.Errorf("the server got %q, want %q", got, startup+c.toServer)
			}
			if c.toNode != "" {
				conn.answers(pgproto3.NewFrontend(strings.NewReader(greeting+done+ready), nil), pgproto3.NewBackend(nil, &toNode))
			}
			if got := toNode.String(); got != c.toNode {
				t.Errorf("the node got %q, want %q", got, c.toNode)
			}
			if len(steps) != c.steps {
				t.Errorf("steps were %q", steps)
			}
		})
	}
}
