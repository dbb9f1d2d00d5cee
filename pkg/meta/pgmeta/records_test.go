package pgmeta

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A read that loses its connection halfway starts again, and has each row once.
func TestR18_AListThatIsCutOffHasEachRowOnce(t *testing.T) {
	s := open(t, Options{})
	other := otherSession{connect(t, s.opts.URL)}
	const many = 100_000 // more than is in flight at a time
	var rows []int
	cuts := 0
	err := records{store: s}.Read(t.Context(), tenant.ID(1), `SELECT n FROM generate_series(1, $1::int) AS n`, []any{many}, func() { rows = nil }, func(scan sqlmeta.Scan) error {
		var n int
		err := scan(&n)
		rows = append(rows, n)
		if n == 10 && cuts == 0 {
			cuts++
			other.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%generate_series(1, %'`)
		}
		return err
	})
	if err != nil || len(rows) != many || rows[many-1] != many || cuts != 1 {
		t.Errorf("%d rows, %d cuts: %v", len(rows), cuts, err)
	}
}
