package workload

import (
	"regexp"
	"regexp/syntax"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// patterns are the sizes of the regular expressions of a condition. A short one may make a long
// program, and a match takes as many steps as the text has characters times the program has
// instructions: CEL's own costs count the characters of the pattern. It implements
// cost.ActualCostEstimator.
type patterns map[string]uint64

// findPatterns also returns how many instructions there are in all. It refuses patterns that are
// not written out, and more than maxRegex.
func findPatterns(checked *cel.Ast) (patterns, uint64, error) {
	found, total := patterns{}, uint64(0)
	for _, call := range ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		pattern, ok := literal(args[len(args)-1])
		if !ok {
			return nil, 0, refused("the regular expression of matches must be a string that is written out, such as \"^v[0-9]+$\"")
		}
		size, err := programSize(pattern)
		if err != nil {
			return nil, 0, refused("%q is not a regular expression: %s", pattern, firstLine(err))
		}
		found[pattern] = size
		total += size
	}
	if total > maxRegex {
		return nil, 0, refused("its regular expressions have %d instructions in all, and exceed the maximum of %d; repetitions such as {100} and classes such as \\pL have most", total, maxRegex)
	}
	return found, total, nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().Value().(string)
	return text, ok
}

// programSize is the number of instructions, where a long class of characters counts as many.
func programSize(pattern string) (uint64, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}
	const runesOfOne = 8
	size := len(program.Inst)
	for _, i := range program.Inst {
		size += len(i.Rune) / runesOfOne
	}
	return uint64(size), nil
}

// matchCost is the cost of a match in CEL's units.
func matchCost(characters, size uint64) uint64 {
	const stepsOfOne = 40
	return cost.SafeAdd(1, cost.SafeMultiply(cost.SafeAdd(characters, 1), size)/stepsOfOne)
}

// CallCost implements cost.ActualCostEstimator.
func (p patterns) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var found uint64
	switch {
	case len(args) != 2:
		return nil
	case function == overloads.Matches:
		pattern, _ := args[1].Value().(string)
		found = matchCost(cost.ActualSize(args[0]), p[pattern])
	case slices.Contains([]string{operators.Equals, operators.NotEquals, operators.In}, function):
		found = 1 + (elements(args[0].Value()) + elements(args[1].Value()))
	default:
		return nil
	}
	return &found
}

// elements counts what is in a value, at all depths: CEL's own costs count the first one.
func elements(v any) uint64 {
	const bytesOfOne = 16
	sum := uint64(0)
	switch v := v.(type) {
	case string:
		return uint64(len(v)) / bytesOfOne
	case ref.Val:
		return elements(v.Value())
	case []any:
		for _, one := range v {
			sum += 1 + elements(one)
		}
	case map[string]any:
		for _, one := range v {
			sum += 1 + elements(one)
		}
	case []ref.Val:
		for _, one := range v {
			sum += 1 + elements(one)
		}
	case map[ref.Val]ref.Val:
		for _, one := range v {
			sum += 1 + elements(one)
		}
	}
	return sum
}

// bounded are the ways to call matches. What would cost too much is not begun, since a match
// cannot be interrupted.
func (p patterns) bounded() cel.ProgramOption {
	var all []*interpreter.RegexOptimization
	for _, overload := range []string{overloads.Matches, overloads.MatchesString} {
		all = append(all, &interpreter.RegexOptimization{Function: overloads.Matches, OverloadID: overload, RegexIndex: 1, Factory: p.call})
	}
	return cel.OptimizeRegex(all...)
}

func (p patterns) call(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	match := func(args ...ref.Val) ref.Val {
		text, ok := args[0].Value().(string)
		switch {
		case !ok:
			return types.NoSuchOverloadErr()
		case matchCost(uint64(len(text)), p[pattern]) > maxMatch:
			return types.NewErr("a text of %d bytes is too long for the regular expression", len(text))
		}
		return types.Bool(compiled.MatchString(text))
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), match), nil
}
