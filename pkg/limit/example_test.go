package limit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/limit"
)

func ExampleLocal() {
	ctx := context.Background()
	logins := limit.NewLocal(2, time.Minute)
	k := limit.Key{Kind: "account", Tenant: 1, Name: "ci"}
	for range 3 {
		if err := logins.Check(ctx, k); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("wrong password", logins.Add(ctx, k))
	}
	// Output:
	// wrong password <nil>
	// wrong password <nil>
	// TOOMANYREQUESTS: too many failed attempts; retry later
}
