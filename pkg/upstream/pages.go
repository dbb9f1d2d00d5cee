package upstream

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// maxPages bounds the pages of a list, which may be empty.
const maxPages = 1000

// pages follows the pages of a list by their Link headers.
type pages struct {
	client *Client
	rq     request
	next   string // query of the next page
	budget int64  // bytes that all pages together may have
	count  int
	ended  bool
}

func (p *pages) more() bool { return !p.ended }

// fetchNext gets the next page, and passes it to use. After an error it gets the same page
// again.
func (p *pages) fetchNext(ctx context.Context, use func(answer) error) error {
	p.rq.query = p.next
	err := p.client.document(ctx, p.rq, func(a answer) error {
		next, problem := nextPage(a.header.Values("Link"), p.client.base, p.rq.path)
		left := p.budget - int64(len(a.body))
		if problem == "" && next != "" && (next == p.next || p.count+1 == maxPages || left <= 0) {
			problem = "has a list without end"
		}
		if problem != "" {
			return p.client.outage(nil, "%s", problem)
		}
		if err := use(a); err != nil {
			return err
		}
		p.count++
		p.budget, p.next, p.ended = left, next, next == ""
		return nil
	})
	if p.count > 0 && OutcomeOf(err) == NotHere {
		e := p.client.outage(err, "does not have a page of a list that another page leads to")
		e.Status = http.StatusNotFound
		return e
	}
	return err
}

// nextPage finds the query of the next page (RFC 8288, rel "next"); empty for none.
// Scheme and host of the link are ignored: a registry behind a proxy may not know its
// own. A malformed Link does not end the list (contract row T8).
func nextPage(links []string, base *url.URL, list string) (string, string) {
	target, problem := parseNext(links)
	if target == "" || problem != "" {
		return "", problem
	}
	u, err := url.Parse(target)
	switch {
	case err != nil || u.User != nil || u.Opaque != "":
		return "", "has a next page with an invalid URL"
	case u.Host != "" && !strings.EqualFold(u.Host, base.Host) && !strings.HasSuffix(u.Path, "/"+list):
		return "", "has its next page on another host"
	case u.RawQuery == "":
		return "", "has a list without end"
	}
	return u.RawQuery, ""
}

// parseNext finds the target of the first link with the relation "next"; empty for none.
// The brackets around a target may be missing.
func parseNext(links []string) (string, string) {
	const unreadable = "has a list whose Link cannot be read"
	next := ""
	for _, v := range links {
		s := scanner{rest: v}
		for s.skip(" \t,"); s.rest != ""; s.skip(" \t,") {
			end := ";"
			if s.take('<') {
				end = ">"
			}
			target, rest, ok := strings.Cut(s.rest, end)
			if end == ";" {
				rest = s.rest[len(target):]
			}
			s.rest = rest
			rel, known := readRel(&s)
			if !ok || !known || s.rest != "" && s.rest[0] != ',' {
				return "", unreadable
			}
			if next == "" && rel {
				if next = strings.TrimSpace(target); next == "" {
					return "", unreadable
				}
			}
		}
	}
	return next, ""
}

// readRel reads all parameters of a link. It reports whether its relation is "next",
// and whether it has a relation.
func readRel(s *scanner) (bool, bool) {
	isNext, known := false, false
	for {
		s.skip(" \t")
		if !s.take(';') {
			return isNext, known
		}
		s.skip(" \t")
		name := strings.ToLower(s.token())
		s.skip(" \t")
		if !s.take('=') {
			continue
		}
		s.skip(" \t")
		value, ok := s.value()
		if !ok {
			return false, false
		}
		if name == "rel" {
			known = true
			for rel := range strings.FieldsSeq(value) {
				isNext = isNext || strings.EqualFold(rel, "next")
			}
		}
	}
}
