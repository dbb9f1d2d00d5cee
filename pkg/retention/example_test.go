package retention_test

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/retention"
)

func ExamplePolicy_Evaluate() {
	p := retention.Policy{Rules: []retention.Rule{
		{Name: "latest patches", Action: retention.Keep, Conditions: retention.Conditions{Versions: &retention.Window{Patches: 2}}},
		{Name: "rest", Action: retention.Delete},
	}}
	c := tagged("1.0.0", "1.0.1", "1.0.2")
	for i, v := range p.Evaluate(c, retention.Moment{Now: now}).Tags {
		fmt.Println(c.Tags[i].Name, v.Goes, v.Rule)
	}
	// Output:
	// 1.0.0 true rest
	// 1.0.1 false latest patches
	// 1.0.2 false latest patches
}
