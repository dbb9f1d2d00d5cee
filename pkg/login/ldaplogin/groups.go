package ldaplogin

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

const (
	maxGroups = 10_000
	maxNames  = 1 << 20 // bytes of all groups' names
	// A walk is bounded beside the time it takes: groups may contain each other.
	maxLevels = 20
	batch     = 50 // groups whose groups are found by one search
)

// memberships collects groups, each once.
type memberships struct {
	byDN  bool
	seen  map[string]bool   // distinguished names without case
	names map[string]string // by the name without case
	bytes int               // of names
}

// add returns whether the group was not there yet.
func (m *memberships) add(dn string) (bool, error) {
	key := strings.ToLower(dn)
	if m.seen[key] {
		return false, nil
	}
	name, ok := dn, isText(dn, maxDN)
	if ok && !m.byDN {
		name, ok = firstValue(dn)
	}
	switch {
	case !ok:
		// A group that is left out could be one that takes rights.
		return false, unusable("a group of the person has a name that is too long, or not valid")
	case len(m.seen) >= maxGroups:
		return false, unusable("the person is in more than %d groups", maxGroups)
	}
	m.seen[key] = true
	if _, known := m.names[strings.ToLower(name)]; !known {
		m.names[strings.ToLower(name)] = name
		m.bytes += len(name)
	}
	if m.bytes > maxNames {
		return false, unusable("the names of the person's groups have more than %d bytes", maxNames)
	}
	return true, nil
}

// firstValue is the name of a group in its distinguished name: that of cn=dev,ou=groups is dev.
func firstValue(dn string) (string, bool) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "", false
	}
	parts := parsed.RDNs[0].Attributes
	i := max(0, slices.IndexFunc(parts, func(a *ldap.AttributeTypeAndValue) bool { return strings.EqualFold(a.Type, "cn") }))
	name := parts[i].Value
	return name, name != "" && isText(name, maxName)
}

// groups returns the names of the groups of the person with this entry, sorted.
func (s Settings) groups(ctx context.Context, c *conn, e *ldap.Entry, name string) ([]string, error) {
	m := &memberships{byDN: s.GroupsByDN, seen: map[string]bool{}, names: map[string]string{}}
	direct, err := s.memberOf(e)
	if err != nil {
		return nil, err
	}
	if s.GroupBase != "" {
		found, err := s.searchGroups(ctx, c, expandFilter(s.GroupFilter, e.DN, name))
		if err != nil {
			return nil, err
		}
		direct = append(direct, found...)
	}
	level, err := m.addAll(direct)
	if err != nil {
		return nil, err
	}
	if s.Nested == Walk {
		if err := s.walk(ctx, c, m, level); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(m.names))
	for _, name := range m.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// memberOf are the groups that an entry itself names.
func (s Settings) memberOf(e *ldap.Entry) ([]string, error) {
	for _, a := range e.Attributes {
		// Active Directory gives 1,500 values at a time; the rest would be left out.
		if len(a.Name) > len(s.MemberOf) && strings.EqualFold(a.Name[:len(s.MemberOf)+1], s.MemberOf+";") {
			return nil, unusable("it gives only a part of the person's groups in %s; find them by group_base", s.MemberOf)
		}
	}
	return slices.Clone(e.GetEqualFoldAttributeValues(s.MemberOf)), nil
}

// addAll returns those that were not there yet.
func (m *memberships) addAll(dns []string) ([]string, error) {
	var added []string
	for _, dn := range dns {
		isNew, err := m.add(dn)
		if err != nil {
			return nil, err
		}
		if isNew {
			added = append(added, dn)
		}
	}
	return added, nil
}

// walk finds the groups of groups, level by level. A group that was seen is not asked about
// again, so a cycle ends.
func (s Settings) walk(ctx context.Context, c *conn, m *memberships, level []string) error {
	for range maxLevels {
		var next []string
		for some := range slices.Chunk(level, batch) {
			var filter strings.Builder
			for _, dn := range some {
				// No person's name: a group must not get the groups of a person of its name.
				filter.WriteString(expandFilter(s.GroupFilter, dn, "\x00"))
			}
			found, err := s.searchGroups(ctx, c, "(|"+filter.String()+")")
			if err != nil {
				return err
			}
			added, err := m.addAll(found)
			if err != nil {
				return err
			}
			next = append(next, added...)
		}
		if len(next) == 0 {
			return nil
		}
		level = next
	}
	return unusable("groups of the person are nested more than %d levels deep", maxLevels)
}

// searchGroups returns the distinguished names of groups.
func (s Settings) searchGroups(ctx context.Context, c *conn, filter string) ([]string, error) {
	entries, err := c.search(ctx, query(s.GroupBase, ldap.ScopeWholeSubtree, 0, filter))
	if err != nil {
		return nil, failed(err, "the search for groups")
	}
	dns := make([]string, len(entries))
	for i, e := range entries {
		dns[i] = e.DN
	}
	return dns, nil
}
