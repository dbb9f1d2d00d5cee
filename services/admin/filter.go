package admin

import (
	"fmt"
	"slices"
	"strings"
)

// condition is one part of a filter: field, operator, value.
type condition struct {
	field, op, value string
}

// is compares text with the value: equal, beginning with what is before a star,
// or containing it.
func (c condition) is(text string) bool {
	if c.op == ":" {
		return strings.Contains(text, c.value)
	}
	if prefix, star := c.prefix(); star {
		return strings.HasPrefix(text, prefix)
	}
	return text == c.value
}

// prefix is the value before its star; false without one.
func (c condition) prefix() (string, bool) {
	if c.op != "=" {
		return "", false
	}
	return strings.CutSuffix(c.value, "*")
}

// filterForm is what a list understands: a field with its operator, each with an
// example of the whole condition.
type filterForm []struct{ field, op, example string }

// fault says what is wrong with the filter, and what is right.
func (f filterForm) fault(filter, format string, args ...any) error {
	examples := make([]string, len(f))
	for i := range f {
		examples[i] = f[i].example
	}
	return invalid("filter", "%q: %s; known are %s, joined by AND",
		clipped(filter), fmt.Sprintf(format, args...), strings.Join(examples, ", "))
}

const longestFilter = 1024 // bytes

// parseFilter reads a filter of the form `field="value" AND field:"value"`, a
// small part of AIP-160. Whatever the form does not have is refused, and so is
// the same condition twice.
func parseFilter(form filterForm, filter string) ([]condition, error) {
	if len(filter) > longestFilter {
		return nil, form.fault(filter, "a filter has at most %d bytes, not %d", longestFilter, len(filter))
	}
	var found []condition
	for rest := strings.TrimSpace(filter); rest != ""; {
		c, after, wrong := form.cutCondition(rest)
		if wrong != "" {
			return nil, form.fault(filter, "%s", wrong)
		}
		if slices.ContainsFunc(found, func(other condition) bool { return other.field == c.field && other.op == c.op }) {
			return nil, form.fault(filter, "%s%s is given twice", c.field, c.op)
		}
		found = append(found, c)
		after = strings.TrimLeft(after, " ")
		if after == "" {
			break
		}
		next, joined := strings.CutPrefix(after, "AND ")
		if rest = strings.TrimLeft(next, " "); !joined || rest == "" {
			return nil, form.fault(filter, "conditions are joined by AND, not by %q", clipped(after))
		}
	}
	return found, nil
}

// has tells whether a list understands this condition.
func (f filterForm) has(c condition) bool {
	for _, known := range f {
		if known.field == c.field && known.op == c.op {
			return true
		}
	}
	return false
}

// cutCondition takes the first condition off a filter, and returns the rest or
// what is wrong.
func (f filterForm) cutCondition(filter string) (condition, string, string) {
	var c condition
	var wrong string
	rest := strings.TrimLeftFunc(filter, func(r rune) bool { return r >= 'a' && r <= 'z' || r == '_' })
	if c.field = filter[:len(filter)-len(rest)]; c.field == "" {
		return c, "", "a condition begins with the name of a field"
	}
	rest = strings.TrimLeft(rest, " ")
	for _, op := range []string{">=", "<=", "!=", "=", ":", ">", "<"} {
		if after, ok := strings.CutPrefix(rest, op); ok {
			c.op, rest = op, strings.TrimLeft(after, " ")
			break
		}
	}
	if !f.has(c) {
		return c, "", clipped(c.field+c.op) + " is not a condition of this list"
	}
	if c.value, rest, wrong = cutText(rest); wrong != "" {
		return c, "", wrong
	}
	star := strings.Index(c.value, "*")
	if star >= 0 && (c.op != "=" || star != len(c.value)-1) {
		return c, "", "a star stands only at the end of a value, after ="
	}
	return c, rest, ""
}

// cutText takes a value in double quotes off a filter, in which a backslash stands
// before a quote or backslash of the value; it returns the rest or what is wrong.
func cutText(filter string) (string, string, string) {
	inner, quoted := strings.CutPrefix(filter, `"`)
	if !quoted {
		return "", "", "a value is in double quotes"
	}
	var text strings.Builder
	for i := 0; i < len(inner); i++ {
		switch b := inner[i]; {
		case b == '"' && text.Len() == 0:
			return "", "", "a value is empty"
		case b == '"':
			return text.String(), inner[i+1:], ""
		case b < ' ' || b == 0x7f:
			return "", "", "a value has a control character"
		case b == '\\':
			if i++; i == len(inner) || inner[i] != '"' && inner[i] != '\\' {
				return "", "", `a backslash stands only before " or \`
			}
			fallthrough
		default:
			text.WriteByte(inner[i])
		}
	}
	return "", "", "a value has no closing quote"
}

// parseOrder reads `field` or `field desc`, of the one field that a list is
// ordered by: whether it is descending, which byDefault says of an empty order.
func parseOrder(field, order string, byDefault bool) (bool, error) {
	switch words := strings.Fields(order); {
	case len(words) == 0:
		return byDefault, nil
	case words[0] != field || len(words) > 2 || len(words) == 2 && words[1] != "desc":
		return false, invalid("order_by", "%q is not an order of this list; known are %q and %q", clipped(order), field, field+" desc")
	default:
		return len(words) == 2, nil
	}
}
