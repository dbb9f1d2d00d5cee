package redisconn_test

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
)

func ExampleKey() {
	fmt.Println(redisconn.Key("lease", "fetch", "1", "sha256:abc"))
	fmt.Println(redisconn.Key("lease", "a:b", "c") == redisconn.Key("lease", "a", "b:c"))
	// Output:
	// berth:lease:lW5rzMJFeNMYpXFhZH8XWUzijd52MjA_5FY50Jb7ny0
	// false
}
