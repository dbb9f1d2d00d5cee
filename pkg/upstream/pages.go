package upstream

import (
	"context"
	"net/url"
	"strings"
)

// maxPages is how many pages a list has at most: what bounds a list of empty
// ones.
const maxPages = 1000

// pages turns the pages of a list, as Link headers lead through it.
type pages struct {
	client *Client
	rq     request
	next   string // query of the next page
	budget int64  // bytes that all pages together may have
	count  int
	ended  bool
}

func (p *pages) more() bool { return !p.ended }

// fetchNext gets the next page, and gives it to use.
func (p *pages) fetchNext(ctx context.Context, use func(answer) error) error {
	p.rq.query = p.next
	return p.client.document(ctx, p.rq, func(a answer) error {
		p.count++
		p.budget -= int64(len(a.body))
		next, problem := nextPage(a.header.Values("Link"), p.client.base)
		switch {
		case problem != "":
		case next == "":
			p.ended = true
		case next == p.next || p.count == maxPages || p.budget <= 0:
			problem = "has a list without end"
		}
		if problem != "" {
			return p.client.outage(nil, "%s", problem)
		}
		p.next = next
		return use(a)
	})
}

// nextPage finds the query of the next page (RFC 8288, rel "next"); empty for
// none. Only the query counts: the page is of the same list, and on the same
// host, whatever scheme a registry behind a proxy believes that it has.
func nextPage(links []string, base *url.URL) (string, string) {
	target, ok := parseNext(links)
	if !ok {
		return "", ""
	}
	u, err := url.Parse(target)
	switch {
	case err != nil || u.User != nil || u.Opaque != "":
		return "", "has a next page with an invalid URL"
	case u.Host != "" && !strings.EqualFold(u.Host, base.Host):
		return "", "has its next page on another host"
	case u.RawQuery == "":
		return "", "has a list without end"
	}
	return u.RawQuery, ""
}

// parseNext finds the target of the first link with the relation "next".
func parseNext(links []string) (string, bool) {
	for _, v := range links {
		s := scanner{rest: v}
		for {
			s.skip(" \t,")
			if !s.take('<') {
				break
			}
			target, rest, ok := strings.Cut(s.rest, ">")
			if !ok {
				break
			}
			s.rest = rest
			if isNext(&s) {
				return target, true
			}
		}
	}
	return "", false
}

// isNext reads the parameters of a link, to their end.
func isNext(s *scanner) bool {
	next := false
	for {
		s.skip(" \t")
		if !s.take(';') {
			return next
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
			return next
		}
		if name == "rel" {
			for rel := range strings.FieldsSeq(value) {
				next = next || strings.EqualFold(rel, "next")
			}
		}
	}
}
