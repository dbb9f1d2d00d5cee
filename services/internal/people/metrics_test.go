package people

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestV103_ReadingsAreCounted(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	w.refresher.WithMetrics(reg)
	shows := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "berth_people_read_total", "berth_people_read_errors_total"); err != nil {
			t.Error(err)
		}
	}
	w.corp.put("max", "dev")
	w.corp.put("eve")
	w.enters("max", "max")
	w.enters("eve", "eve")
	w.corp.remove("eve")
	w.pass(5 * time.Minute)
	const known = `# HELP berth_people_read_total People whom an identity provider was asked about again, without a login, by its kind and whether it knew the person (known, gone).
# TYPE berth_people_read_total counter
berth_people_read_total{kind="LDAP",outcome="gone"} 1
berth_people_read_total{kind="LDAP",outcome="known"} 1
`
	shows(known)
	w.corp.outage(true)
	w.pass(5 * time.Minute)
	shows(known + `# HELP berth_people_read_errors_total Identity providers of the kind that could not be asked; their people are read again 15 s later, and keep their groups for directory_grace.
# TYPE berth_people_read_errors_total counter
berth_people_read_errors_total{kind="LDAP"} 1
`)
	due, err := w.DuePeople(t.Context(), 0, 9)
	if err != nil || len(due) != 0 {
		t.Fatalf("%+v, %v", due, err)
	}
	w.now = w.now.Add(retryIn)
	if due, err = w.DuePeople(t.Context(), 0, 9); err != nil || len(due) != 1 || !due[0].DueAt.Equal(w.now.Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", due, err)
	}
	w.refresher.due(due, due[0].DueAt.Add(90*time.Second))
	if got := testutil.ToFloat64(w.refresher.oldest); got != 90 {
		t.Errorf("%f s", got)
	}
	w.refresher.due(nil, w.now)
	if got := testutil.ToFloat64(w.refresher.oldest); got != 0 {
		t.Errorf("%f s", got)
	}
}
