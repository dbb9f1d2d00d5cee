package assemble

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/admin"
)

// CheckFiles reads the files that a start would read, certificates and the seed,
// and says what is wrong with them, a boot.Problem for each. The configuration has
// passed its Check. Nothing is written and no server is asked, except for the names
// of upstreams. The first result is what the seed names but does not have.
func CheckFiles(ctx context.Context, c boot.Config) ([]error, error) {
	problems := c.CheckCertificates()
	declared, err := helpers(c, slog.New(slog.DiscardHandler))
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			problems = append(problems, boot.Problem{Setting: settingHelpers, What: strings.TrimSpace(line)})
		}
	}
	var notes []error
	if c.Seed != "" && c.Runs(boot.AdminService) {
		pattern, err := tenant.NewPattern(c.HostPattern, c.BaseDomain)
		if err != nil {
			return nil, err
		}
		secrets := &seal.Keyring{}
		if c.Embedded() || !c.SecretKey.IsZero() { // a start has a key; which one does not matter here
			if secrets, err = seal.New([]byte(rand.Text())); err != nil {
				return nil, err
			}
		}
		o, err := egress(c, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, problems // they say so
		}
		o.Helpers = declared
		clients := upstream.New(o)
		check := admin.SeedCheck{Pattern: pattern, Secrets: secrets, CheckAddress: clients.CheckAddress, CheckHelper: clients.CheckHelper}
		var wrong []error
		wrong, notes = admin.CheckSeed(ctx, c.Seed, check)
		for _, one := range wrong {
			problems = append(problems, boot.Problem{Setting: "seed", What: one.Error()})
		}
	}
	if len(problems) == 0 {
		return notes, nil
	}
	return notes, problems
}
