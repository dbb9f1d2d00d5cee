package sqlmeta

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// keyUse is a meta.KeyUse as the statements read it.
type keyUse struct {
	Tenant  tenant.ID `json:"tenant"`
	Account int64     `json:"account"`
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
	Micros  int64     `json:"micros"` // At, for SQLite
	Address string    `json:"address"`
}

// RecordKeyUses implements meta.KeyUses. Rows are locked in one order, so that nodes do not
// wait for each other in circles.
func (s *Records) RecordKeyUses(ctx context.Context, uses []meta.KeyUse) error {
	var ofAccounts, ofTrusts, ofPeople, ofOperators []keyUse
	for _, u := range uses {
		row := keyUse{u.Tenant, u.Account, u.Key, u.At, u.At.UnixMicro(), u.Address}
		trust, isTrust := access.TrustOf(u.Key)
		token, isPersons := access.PersonTokenOf(u.Key)
		switch {
		case u.Tenant == meta.Deployment:
			ofOperators = append(ofOperators, row)
		case isTrust:
			row.Key = trust
			ofTrusts = append(ofTrusts, row)
		case isPersons:
			row.Key = token
			ofPeople = append(ofPeople, row)
		default:
			ofAccounts = append(ofAccounts, row)
		}
	}
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := queueUses(t, ofAccounts, t.Pick(recordKeyUsesSQLite, recordKeyUsesPostgres)); err != nil {
			return err
		}
		if err := queueUses(t, ofTrusts, t.Pick(recordTrustUsesSQLite, recordTrustUsesPostgres)); err != nil {
			return err
		}
		if err := queueUses(t, latestOfEach(ofPeople), t.Pick(recordPersonUsesSQLite, recordPersonUsesPostgres)); err != nil {
			return err
		}
		return queueUses(t, ofOperators, t.Pick(recordTokenUsesSQLite, recordTokenUsesPostgres))
	})
}

// latestOfEach leaves one use of each token, which may have been used in many tenants.
func latestOfEach(uses []keyUse) []keyUse {
	slices.SortFunc(uses, func(a, b keyUse) int { return cmp.Or(cmp.Compare(a.Key, b.Key), b.At.Compare(a.At)) })
	return slices.CompactFunc(uses, func(a, b keyUse) bool { return a.Key == b.Key })
}

func queueUses(t Tx, rows []keyUse, statement string) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b keyUse) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Key, b.Key))
	})
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return t.Queue(statement, string(body))
}
