package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// Record is a line of a sink: an event, or a pull.
type Record struct {
	Name      string    `json:"name,omitempty"` // of the event, in the admin API; a pull has none
	Time      time.Time `json:"time"`
	Tenant    string    `json:"tenant,omitempty"` // empty of the operators' log
	Actor     string    `json:"actor"`
	OnBehalf  string    `json:"on_behalf,omitempty"`
	Verb      string    `json:"verb"`
	Target    string    `json:"target"`
	Digest    string    `json:"digest,omitempty"` // of what was pulled
	RequestID string    `json:"request_id"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
	Changes   []change  `json:"changes,omitempty"`
	Times     int64     `json:"times"`
}

// change is a meta.Change by the names that the admin API has.
type change struct {
	Field string `json:"field"`
	Old   string `json:"old_value"`
	New   string `json:"new_value"`
}

func recordOf(e meta.PendingEvent) Record {
	r := Record{
		Name: "events/" + strconv.FormatInt(e.ID, 10), Time: e.At, Tenant: e.TenantSlug,
		Actor: e.Actor, OnBehalf: e.OnBehalf, Verb: e.Verb, Target: e.Target,
		RequestID: e.RequestID, Address: e.Address, UserAgent: e.UserAgent, Times: e.Times,
	}
	if e.TenantSlug != "" {
		r.Name = "tenants/" + e.TenantSlug + "/" + r.Name
	}
	changes, err := meta.DecodeChanges(e.Changes)
	if err != nil {
		return r // the event itself is sent
	}
	for _, c := range changes {
		r.Changes = append(r.Changes, change(c))
	}
	return r
}

// encoded are the records as JSON lines.
func encoded[R any](rows []R, of func(R) Record) ([]byte, error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	encoder.SetEscapeHTML(false)
	for _, row := range rows {
		if err := encoder.Encode(of(row)); err != nil {
			return nil, err
		}
	}
	return lines.Bytes(), nil
}
