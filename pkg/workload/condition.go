package workload

import (
	"context"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/overloads"

	"github.com/berth-registry/berth/pkg/fault"
)

// Bounds of conditions.
const (
	maxCondition = 4 << 10     // bytes
	maxNodes     = 1000        // of the expression, macros expanded
	maxCost      = 100_000     // in CEL's units, estimated when it is written and counted when it runs: less than 100 ms
	maxMatch     = 25_000      // of one regular expression on one text
	maxMemory    = 100_000     // in CEL's units
	maxRegex     = 1000        // instructions of all regular expressions
	maxTime      = time.Second // for all conditions of a login
	usualSize    = 256         // characters of a claim, or its elements: what the estimate supposes
)

// What a compiled condition takes in memory, about, for each byte of the text and each
// instruction of regular expressions.
const (
	bytesOfAll         = 4 << 10
	bytesOfOne         = 64
	bytesOfInstruction = 256
)

// claimsName is the one variable of conditions.
const claimsName = "claims"

// Condition decides about the claims of a token. It is safe for concurrent use.
type Condition struct {
	program cel.Program
	bytes   int // that it takes in memory, about
}

var environment = newEnvironment()

func newEnvironment() *cel.Env {
	e, err := cel.NewEnv(
		cel.Variable(claimsName, cel.MapType(cel.StringType, cel.DynType)),
		cel.ParserExpressionSizeLimit(maxCondition), cel.ExpressionNodeLimit(maxNodes),
		cel.CrossTypeNumericComparisons(true), // numbers of JSON are doubles
	)
	if err != nil {
		panic(err) // only for options that do not go together
	}
	return e
}

// Compile reads a condition, an expression in CEL. Errors are fault.Invalid.
func Compile(text string) (*Condition, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, refused("it is missing; it is an expression in CEL about claims of the token, such as %s", exampleCondition)
	case len(text) > maxCondition:
		return nil, refused("%d bytes exceed the maximum of %d", len(text), maxCondition)
	}
	ast, issues := environment.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, refused("it is not an expression in CEL: %s", firstLine(err))
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) {
		return nil, refused("its value is of type %s; it must be bool: compare the claim with something, as in %s", out, exampleCondition)
	}
	found, size, err := findPatterns(ast)
	if err != nil {
		return nil, err
	}
	estimate, err := environment.EstimateCost(ast, usualClaims{found})
	if err != nil {
		return nil, refused("its cost cannot be estimated: %s", firstLine(err))
	}
	if estimate.Max > maxCost {
		return nil, refused("its cost may be %d and exceeds the maximum of %d; lists within lists and long regular expressions cost most", estimate.Max, maxCost)
	}
	program, err := environment.Program(ast, cel.CostLimit(maxCost), cel.CostTracking(found), found.bounded(),
		cel.MemoryLimit(maxMemory), cel.InterruptCheckFrequency(100), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, refused("it cannot be run: %s", firstLine(err))
	}
	return &Condition{program: program, bytes: bytesOfAll + bytesOfOne*len(text) + bytesOfInstruction*int(size)}, nil
}

const exampleCondition = `claims.repository == "acme/web" && claims.ref == "refs/heads/main"`

// Check compiles a condition of a trust in an issuer, and refuses one that any token of it
// meets: an issuer signs for all of its users.
func Check(issuer, text string) error {
	c, err := Compile(text)
	if err != nil {
		return err
	}
	everybody := map[string]any{
		"iss": issuer, "aud": []any{"any"}, "sub": "any", "jti": "any", "iat": 0.0, "nbf": 0.0, "exp": 0.0,
	}
	for _, claims := range []map[string]any{{}, everybody} {
		if holds, _ := c.Holds(context.Background(), claims); holds {
			return refused("any token of the issuer meets it; require a claim that says for whom the token was signed, as in %s", exampleCondition)
		}
	}
	return nil
}

// Holds reports whether claims meet the condition. A claim that is missing, or of another
// type, and a cost beyond the bound make it false; the error says why.
func (c *Condition) Holds(ctx context.Context, claims map[string]any) (bool, error) {
	out, _, err := c.program.ContextEval(ctx, map[string]any{claimsName: claims})
	if err != nil {
		return false, err
	}
	holds, ok := out.Value().(bool)
	return ok && holds, nil
}

// usualClaims supposes that no claim is long: one that is ends the run at maxCost.
type usualClaims struct{ patterns }

// EstimateSize implements cost.Estimator.
func (usualClaims) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.ComputedSize() != nil {
		return nil
	}
	return &cost.SizeEstimate{Max: usualSize}
}

// EstimateCallCost implements cost.Estimator.
func (u usualClaims) EstimateCallCost(function, _ string, _ *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if function != overloads.Matches {
		return nil
	}
	pattern, _ := literal(args[len(args)-1].Expr())
	return cost.NewCallEstimate(cost.FixedCostEstimate(matchCost(usualSize, u.patterns[pattern])), nil)
}

func refused(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...)
}

// firstLine leaves out the picture of the place that CEL draws.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "ERROR: ")
}
