package assemble

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
)

// TestU116_NoAuditSinkIsAMetadataServer: those that upstreams cannot be, by IPv4 and by the
// IPv6 addresses that lead there.
func TestU116_NoAuditSinkIsAMetadataServer(t *testing.T) {
	for _, host := range []string{
		"169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[fd20:ce::254]", "[::ffff:100.100.100.200]", "[64:ff9b::a83f:8110]",
	} {
		sink, err := openAuditSink(boot.Config{AuditSink: boot.NewURL("http://" + host + "/")})
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Write(t.Context(), []byte("{}\n")); err == nil || !strings.Contains(err.Error(), "an audit sink is not at") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
