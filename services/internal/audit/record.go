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

	ChangesOmitted bool `json:"changes_omitted,omitempty"` // the sink refused the event with its changes
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

// maxBody is how many bytes are written at once, if they are several lines: less than the
// 1 MiB that servers and proxies often take at most.
const maxBody = 512 << 10

// encoded are the first of the records as JSON lines, up to maxBody, and how many those are.
func encoded[R any](rows []R, of func(R) Record) ([]byte, int, error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	encoder.SetEscapeHTML(false)
	for i, row := range rows {
		before := lines.Len()
		if err := encoder.Encode(of(row)); err != nil {
			return nil, 0, err
		}
		if lines.Len() > maxBody && i > 0 {
			return lines.Bytes()[:before], i, nil
		}
	}
	return lines.Bytes(), len(rows), nil
}
