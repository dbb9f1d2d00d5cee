package assemble_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/boot"
)

// admin sends a request to the admin API as the operator; the body, which may
// be nil, becomes JSON.
func (w *world) admin(t *testing.T, method, path string, body any) answer {
	t.Helper()
	for _, n := range w.nodes {
		if n.config.Runs(boot.AdminService) {
			return n.admin(t, method, path, body)
		}
	}
	t.Fatal("no node runs the admin service")
	return answer{}
}

func (n *node) admin(t *testing.T, method, path string, body any) answer {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if body == nil {
		text = nil
	}
	base := "http://" + n.at("admin_addr")
	return repository{deployment: deployment{base: base, client: http.DefaultClient}}.send(t, request{
		method: method, target: path, body: text, header: headers("Authorization", "Bearer "+secret),
	})
}

// count runs a query that counts in the deployment's Postgres.
func (w *world) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	ctx := context.Background()
	db, err := pgx.Connect(ctx, w.nodes[0].config.Meta.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(ctx) }()
	var n int
	if err := db.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
