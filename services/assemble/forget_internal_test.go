package assemble

import (
	"errors"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

// TestS88_OnlyChangesClearCaches tells calls that may have changed something from
// all others.
func TestS88_OnlyChangesClearCaches(t *testing.T) {
	for op, want := range map[string]bool{
		"GetTenant": true, "ListUsers": true, "ResolveReference": true, "CreateAccessToken": true, "DeleteAccessToken": true,
		"DeleteRefreshToken": true, "DeleteSession": true, "ChangePassword": true, "UpdateUser": false, "DeleteUser": false, "CreateServiceAccountKey": false, "RevokeTokens": false,
	} {
		if changesNoCache(op) != want {
			t.Errorf("%s: %t, want %t", op, !want, want)
		}
	}
	change, trial := &pb.UpdateTenantRequest{}, &pb.UpdateTenantRequest{ValidateOnly: true}
	for _, c := range []struct {
		req  any
		err  error
		want bool
	}{
		{change, nil, true},
		{change, errors.New("who knows"), true},
		{change, fault.Down(errors.New("cut"), "the store"), true},
		{change, fault.New(fault.Invalid, fault.RequestInvalid, "x"), false},
		{change, fault.New(fault.Denied, fault.DeniedReason, "x"), false},
		{change, fault.New(fault.NotFound, fault.ResourceUnknown, "x"), false},
		{change, fault.New(fault.Conflict, fault.EtagMismatch, "x"), false},
		{trial, nil, false},
		{trial, errors.New("who knows"), false},
	} {
		if got := mayHaveChanged(c.req, c.err); got != c.want {
			t.Errorf("%v, %v: %t", c.req, c.err, got)
		}
	}
}
