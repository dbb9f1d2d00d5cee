package credential

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Kind is the kind of a helper.
type Kind string

// The kinds.
const (
	ECR      Kind = "ecr"
	Google   Kind = "google"
	Azure    Kind = "azure"
	Exchange Kind = "token_exchange"
	Exec     Kind = "exec"
	File     Kind = "file"
)

// ecrHost matches a private registry of AWS, with its region.
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$`)

// kindHosts match the registries of a kind, which get its credential without being
// listed. Other kinds have none.
var kindHosts = map[Kind]*regexp.Regexp{
	ECR:    ecrHost,
	Google: regexp.MustCompile(`^(?:(?:[a-z0-9-]+\.)?gcr\.io|(?:[a-z0-9-]+\.)+pkg\.dev)$`),
	Azure:  regexp.MustCompile(`^(?:[a-z0-9-]+\.)+azurecr\.io$`),
}

// Serves reports whether the registry at u may get the helper's credential.
func (h *Helper) Serves(u *url.URL) bool {
	if h.Lists(u) {
		return true
	}
	own := kindHosts[h.declared.Kind]
	return own != nil && u.Scheme == "https" && u.Port() == "" && own.MatchString(u.Hostname())
}

// Lists reports whether the operator lists the host of u among those that get the
// credential. "*.example.com" are all hosts below it, over https.
func (h *Helper) Lists(u *url.URL) bool {
	return slices.ContainsFunc(h.declared.Hosts, func(host string) bool {
		if below, ok := strings.CutPrefix(host, "*"); ok {
			return u.Scheme == "https" && len(u.Host) > len(below) && strings.HasSuffix(u.Host, below)
		}
		return u.Host == host
	})
}

// Region is that of an ECR host; false for other hosts.
func Region(host string) (string, bool) {
	m := ecrHost.FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	return m[1], true
}
