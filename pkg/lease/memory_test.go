package lease_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/lease/leasetest"
)

func TestMemory(t *testing.T) {
	leasetest.Run(t, func(*testing.T) (lease.Leases, lease.Leases) {
		m := lease.NewMemory()
		return m, m
	})
}

func ExampleLeases() {
	ctx := context.Background()
	var leases lease.Leases = lease.NewMemory()
	work := lease.Key{Kind: "fetch", Tenant: 1, Name: "sha256:abc"}
	held, _, _ := leases.Acquire(ctx, work, "http://10.0.0.7:5091")
	if _, note, ok := leases.Acquire(ctx, work, "http://10.0.0.8:5091"); !ok {
		fmt.Println("it is fetched by", note)
	}
	held.Release()
	_, _, ok := leases.Acquire(ctx, work, "http://10.0.0.8:5091")
	fmt.Println("free again:", ok)
	// Output:
	// it is fetched by http://10.0.0.7:5091
	// free again: true
}
