package boot_test

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/boot"
)

func ExampleLoad() {
	loaded, err := boot.Load(boot.Sources{Environ: []string{"BERTH_BASE_DOMAIN=registry.test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(loaded.BaseDomain, "from", loaded.Origins["base_domain"])
	fmt.Println(loaded.DataAddr, "from", loaded.Origins["data_addr"])

	_, err = boot.Load(boot.Sources{Environ: []string{"BERTH_DOMAIN_BASE=x", "BERTH_GRACE=1"}})
	fmt.Println(err)
	// Output:
	// registry.test from environment
	// 127.0.0.1:5000 from default
	// domain_base: unknown setting in BERTH_DOMAIN_BASE; `berth config print` lists the settings
	// grace: "1" needs a number and a unit, such as 90s, 15m or 720h (from BERTH_GRACE)
}
