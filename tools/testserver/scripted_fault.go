package testserver

import (
	"maps"
	"net"
	"slices"
	"time"
)

// Fault is how a Scripted answers instead of right. Those of the body leave as it
// is what is answered to HEAD, and what is not a correct answer anyway.
type Fault string

// FaultNone is to be right.
const FaultNone Fault = "none"

// The faults of connections: no request is read, nor counted.
const (
	FaultRefused       Fault = "connection refused" // those that are open are cut
	FaultResetOnAccept Fault = "reset on accept"
	FaultTLS           Fault = "TLS where plain is expected" // an alert
)

// The faults of the status.
const (
	Fault400           Fault = "400"
	Fault405           Fault = "405"
	Fault410           Fault = "410"
	Fault418           Fault = "418"
	Fault429           Fault = "429"
	Fault429RetryAfter Fault = "429 with Retry-After"
	Fault500           Fault = "500"
	Fault502           Fault = "502"
	Fault503           Fault = "503"
	Fault503RetryAfter Fault = "503 with Retry-After"
	Fault504           Fault = "504"

	FaultNotFound        Fault = "404" // as the registry says it
	FaultUnauthorized    Fault = "401 whatever the token"
	FaultForbidden       Fault = "403"
	FaultBrokenChallenge Fault = "401 with a broken challenge"
)

// The faults of what stands before a registry that is away. They answer for /v2/, too.
const (
	FaultEdge404        Fault = "404 with a page"
	FaultEdge404Version Fault = "404 with a page and the version header"
	FaultPlain404       Fault = "404 of a server of files"
	FaultOther404       Fault = "404 with an error of another kind"
	FaultSidecar        Fault = "401 without a challenge"
)

// The harmless faults: the content can be read.
const (
	FaultGzipLabel     Fault = "Content-Encoding gzip that is none"
	FaultOctetStream   Fault = "binary/octet-stream"
	FaultExpiresText   Fault = "expires_in as a string"
	FaultLinkBare      Fault = "Link without brackets"
	FaultLinkElsewhere Fault = "Link with another host's name"
)

// FaultLinkGarbage is a list that has another page, and says it so that no client
// understands.
const FaultLinkGarbage Fault = "Link that cannot be read"

// The faults of HEAD alone, as firewalls and CDNs have them: GET is answered.
const (
	FaultHead400 Fault = "400 to HEAD"
	FaultHead401 Fault = "401 to HEAD"
	FaultHead403 Fault = "403 to HEAD"
	FaultHead405 Fault = "405 to HEAD"
	FaultHead406 Fault = "406 to HEAD"
	FaultHead501 Fault = "501 to HEAD"
)

// The faults of what a right status and header announce.
const (
	FaultHTML           Fault = "200 with a page"
	FaultEmptyBody      Fault = "200 with an empty body"
	FaultTruncated      Fault = "200 with less than Content-Length" // Script.At bytes, then a clean end
	FaultGarbageJSON    Fault = "200 with broken JSON"
	FaultWrongDigest    Fault = "200 with other content"
	FaultWrongMediaType Fault = "200 with the Content-Type of a config"
	FaultLyingDigest    Fault = "200 with another Docker-Content-Digest"
	FaultGzip           Fault = "200 with Content-Encoding gzip"
	FaultGzipBomb       Fault = "200 with 1 GiB of zeros in gzip"
	FaultMillionTags    Fault = "200 with 1,000,000 tags"
)

// The faults of how it is sent.
const (
	FaultGarbageStatus     Fault = "no status line"
	FaultHugeHeaders       Fault = "11 MiB of headers"
	FaultResetAfterHeaders Fault = "reset after headers"
	FaultStallBefore       Fault = "stall before headers"
	FaultStallInBody       Fault = "stall in the body" // after Script.At bytes
	FaultSlow              Fault = "1 byte per second"
	FaultEndless           Fault = "endless chunked body" // the right bytes first
)

// The faults of redirects.
const (
	FaultRedirectLoop Fault = "redirect loop"
	FaultRedirectDead Fault = "redirect to a dead host"
	FaultRedirect404  Fault = "redirect to 404" // the registry has it, its CDN has not
)

// The faults of the token endpoint.
const (
	FaultTokenDenied  Fault = "token endpoint 401"
	FaultToken429     Fault = "token endpoint 429" // with Retry-After
	FaultToken500     Fault = "token endpoint 500"
	FaultTokenStall   Fault = "token endpoint stalls"
	FaultTokenGarbage Fault = "token endpoint garbage"
	FaultTokenHuge    Fault = "token endpoint 1 MiB"
)

// ScriptedRetryAfter is what the faults with Retry-After ask for.
const ScriptedRetryAfter = 7 * time.Second

// Outcome is what a client must take an answer for.
type Outcome string

// The outcomes. All but the first say something about a pull of content that
// the client does not have yet.
const (
	OutcomeFound       Outcome = "found"
	OutcomeNotHere     Outcome = "not here" // authoritative: another registry may be asked
	OutcomeDenied      Outcome = "denied"
	OutcomeRateLimited Outcome = "rate limited" // an outage that says when it ends
	OutcomeOutage      Outcome = "outage"
)

// Outcome is what a client must take the fault for.
func (f Fault) Outcome() Outcome { return faults[f].outcome }

// On is what the requests ask for that the fault concerns by itself, empty for
// faults of connections. With Script.On it can be played on others.
func (f Fault) On() []Part { return slices.Clone(faults[f].on) }

// String names the fault.
func (f Fault) String() string { return string(f) }

// Faults are all with which a pull of the content they concern does not succeed,
// except those of Corruptions.
func Faults() []Fault {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(faults)), func(f Fault) bool {
		return faults[f].outcome == OutcomeFound || f == FaultMillionTags || f == FaultLinkGarbage || slices.Contains(Corruptions(), f)
	})
}

// reach is which right answers a fault takes the place of.
type reach int

const (
	reachNone   reach = iota
	reachAll          // all answers, right or not
	reachRight        // of status 2xx
	reachBodies       // of status 2xx to GET
	reachHeads        // to HEAD
	reachParts        // of status 206
)

// faultKind is what there is to know of a fault.
type faultKind struct {
	outcome    Outcome
	on         []Part
	reach      reach
	play       func(*scene)
	connection func(net.Conn) // of faults of connections, instead of play
}

var (
	// content is what a pull is of.
	content = []Part{PartManifests, PartBlobs}
	// documents are read as a whole: lists are, too.
	documents = []Part{PartManifests, PartTags, PartReferrers}
	// everything is the registry without its token endpoint.
	everything = []Part{PartPing, PartManifests, PartBlobs, PartTags, PartReferrers}
	tokens     = []Part{PartToken}
)

// faults are all there are.
var faults = func() map[Fault]faultKind {
	all := map[Fault]faultKind{
		FaultNone:          {outcome: OutcomeFound},
		FaultRefused:       {outcome: OutcomeOutage},
		FaultResetOnAccept: {outcome: OutcomeOutage, connection: reset},
		FaultTLS:           {outcome: OutcomeOutage, connection: alert},

		Fault400:             {OutcomeOutage, everything, reachAll, status(400), nil},
		Fault405:             {OutcomeOutage, everything, reachAll, status(405), nil},
		Fault410:             {OutcomeOutage, everything, reachAll, status(410), nil},
		Fault418:             {OutcomeOutage, everything, reachAll, status(418), nil},
		Fault429:             {OutcomeRateLimited, everything, reachAll, status(429), nil},
		Fault429RetryAfter:   {OutcomeRateLimited, everything, reachAll, later(429), nil},
		Fault500:             {OutcomeOutage, everything, reachAll, status(500), nil},
		Fault502:             {OutcomeOutage, everything, reachAll, status(502), nil},
		Fault503:             {OutcomeOutage, everything, reachAll, status(503), nil},
		Fault503RetryAfter:   {OutcomeOutage, everything, reachAll, later(503), nil},
		Fault504:             {OutcomeOutage, everything, reachAll, status(504), nil},
		FaultNotFound:        {OutcomeNotHere, everything, reachAll, (*scene).notFound, nil},
		FaultUnauthorized:    {OutcomeDenied, everything, reachAll, (*scene).unauthorized, nil},
		FaultForbidden:       {OutcomeDenied, everything, reachAll, status(403), nil},
		FaultBrokenChallenge: {OutcomeOutage, everything, reachAll, (*scene).brokenChallenge, nil},

		FaultEdge404:        {OutcomeOutage, everything, reachAll, (*scene).page404, nil},
		FaultEdge404Version: {OutcomeOutage, everything, reachAll, (*scene).page404Version, nil},
		FaultPlain404:       {OutcomeOutage, everything, reachAll, plain(404), nil},
		FaultOther404:       {OutcomeOutage, everything, reachAll, status(404), nil},
		FaultSidecar:        {OutcomeOutage, everything, reachAll, plain(401), nil},

		FaultGzipLabel:     {OutcomeFound, append(tokens, content...), reachBodies, (*scene).gzipLabel, nil},
		FaultOctetStream:   {OutcomeFound, []Part{PartManifests}, reachRight, (*scene).octetStream, nil},
		FaultExpiresText:   {OutcomeFound, tokens, reachAll, body(expiresText), nil},
		FaultLinkBare:      {OutcomeFound, []Part{PartTags}, reachBodies, link(bare), nil},
		FaultLinkElsewhere: {OutcomeFound, []Part{PartTags}, reachBodies, link(elsewhere), nil},
		FaultLinkGarbage:   {OutcomeOutage, []Part{PartTags}, reachBodies, link(garbage), nil},

		FaultHead400: {OutcomeFound, content, reachHeads, plain(400), nil},
		FaultHead401: {OutcomeFound, content, reachHeads, plain(401), nil},
		FaultHead403: {OutcomeFound, content, reachHeads, plain(403), nil},
		FaultHead405: {OutcomeFound, content, reachHeads, plain(405), nil},
		FaultHead406: {OutcomeFound, content, reachHeads, plain(406), nil},
		FaultHead501: {OutcomeFound, content, reachHeads, plain(501), nil},

		FaultHTML:           {OutcomeOutage, everything, reachAll, (*scene).page, nil},
		FaultEmptyBody:      {OutcomeOutage, content, reachBodies, body(empty), nil},
		FaultTruncated:      {OutcomeOutage, content, reachBodies, (*scene).truncated, nil},
		FaultGarbageJSON:    {OutcomeOutage, content, reachBodies, body(brokenJSON), nil},
		FaultWrongDigest:    {OutcomeOutage, content, reachBodies, (*scene).otherContent, nil},
		FaultWrongMediaType: {OutcomeOutage, documents, reachRight, (*scene).wrongType, nil},
		FaultLyingDigest:    {OutcomeOutage, []Part{PartManifests}, reachAll, (*scene).lie, nil},
		FaultGzip:           {OutcomeFound, append(tokens, content...), reachBodies, (*scene).zipped, nil},
		FaultGzipBomb:       {OutcomeOutage, content, reachBodies, (*scene).bomb, nil},
		FaultMillionTags:    {OutcomeOutage, []Part{PartTags}, reachBodies, (*scene).millionTags, nil},

		FaultGarbageStatus:     {OutcomeOutage, everything, reachAll, (*scene).noStatus, nil},
		FaultHugeHeaders:       {OutcomeOutage, everything, reachAll, (*scene).hugeHeaders, nil},
		FaultResetAfterHeaders: {OutcomeOutage, content, reachBodies, (*scene).resetAfterHeaders, nil},
		FaultStallBefore:       {OutcomeOutage, everything, reachAll, (*scene).wait, nil},
		FaultStallInBody:       {OutcomeOutage, content, reachBodies, (*scene).stall, nil},
		FaultSlow:              {OutcomeOutage, content, reachBodies, (*scene).drip, nil},
		FaultEndless:           {OutcomeOutage, content, reachBodies, (*scene).endless, nil},

		FaultRedirectLoop: {OutcomeOutage, content, reachRight, (*scene).loop, nil},
		FaultRedirectDead: {OutcomeOutage, content, reachRight, (*scene).toDead, nil},
		FaultRedirect404:  {OutcomeOutage, []Part{PartBlobs}, reachRight, (*scene).toNothing, nil},

		FaultTokenDenied:  {OutcomeDenied, tokens, reachAll, status(401), nil},
		FaultToken429:     {OutcomeRateLimited, tokens, reachAll, later(429), nil},
		FaultToken500:     {OutcomeOutage, tokens, reachAll, status(500), nil},
		FaultTokenStall:   {OutcomeOutage, tokens, reachAll, (*scene).wait, nil},
		FaultTokenGarbage: {OutcomeOutage, tokens, reachAll, body(brokenJSON), nil},
		FaultTokenHuge:    {OutcomeOutage, tokens, reachAll, (*scene).hugeToken, nil},
	}
	maps.Copy(all, corruptions)
	maps.Copy(all, rangeFaults)
	return all
}()
