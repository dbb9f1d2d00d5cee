# Berth's commands. Every target works on a fresh clone with Go, git, make and
# gcc; what else a target needs it installs by tools/install.
#
#   make test    before every commit
#   make ci      what CI runs
#
# There are two modules, the root and api/. "work" is Go's pattern for the
# packages of both; "./..." stops where api/ begins.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/berth-tools
export PATH := $(cache)/bin:$(PATH)
# The race detector needs cgo, the product does not.
export CGO_ENABLED := 1
# Without the paths of this checkout in them, compiled packages serve every clone. A
# checkout that git does not trust or know has no revision to stamp.
export GOFLAGS := $(GOFLAGS) -trimpath $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)

# The race detector watches everything but SQLite itself, which is C translated
# to Go, and argon2: they share nothing between goroutines, and watched they are
# four times slower.
export RACE := -race $(addsuffix =-race=false,$(addprefix -gcflags=,modernc.org/sqlite/lib modernc.org/libc modernc.org/memory golang.org/x/crypto/argon2 golang.org/x/crypto/blake2b))

# Tests of very many steps, one after the other: nothing in them could race, and
# watched they take three times as long.
unwatched := ^(TestR50_PairsInAllOrders|TestU66_EveryRPCAndRouteByEveryPrincipalInEveryState|TestC9_HostileFiltersAreRefused|TestU124_WhatATestCostsIsBounded|TestQ16_RegsyncOfManyRepositories)$$
haveUnwatched := ./pkg/meta/pgmeta ./services/admin ./services/assemble
# What make test tests by: "vet" was before. More packages are tested at once than there are
# processors, since some wait.
tested = -vet=off $(if $(CI),-count=1) -timeout 40m

.PHONY: help
help: ## say what there is
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: test
test: vet lint ## everything a change must not break
	tools/install deb:postgresql deb:redis-server deb:nginx deb:tinyproxy deb:slapd versitygw registry regsync cosign
	go list $(RACE) -export -test -deps work >/dev/null # compiles first: tests that measure do not run beside the compiler
	go list -export -test -deps $(haveUnwatched) >/dev/null
	tools/side-by-side watched unwatched

.PHONY: watched
watched: # what takes longest begins first; clusterrun and charts have targets of their own
	GOGC=400 go test $(RACE) -skip '$(unwatched)' $(tested) -p $$(($$(nproc) + 1)) ./services/assemble $$(go list work | grep -vE '/tools/(clusterrun|charts)$$')

.PHONY: unwatched
unwatched:
	GOGC=400 go test -run '$(unwatched)' $(tested) -p 1 $(haveUnwatched)

.PHONY: vet
vet:
	tools/gomod mod tidy -diff
	cd api && GOWORK=off go mod tidy -diff
	go vet work

.PHONY: tidy
tidy: ## go mod tidy, in both modules
	tools/gomod mod tidy
	cd api && GOWORK=off go mod tidy

.PHONY: lint
lint: ## the linter, by .golangci.yml
	tools/install golangci-lint
	golangci-lint run ./... ./api/... # the linter does not know the pattern "work"

.PHONY: run
run: ## build and serve: make run ARGS="--data-dir /var/lib/berth"
	@echo 'building berth (the first time takes about a minute)…' >&2
	@$(MAKE) --no-print-directory -s build
	@exec bin/berth serve $(ARGS)

.PHONY: build
build: ## bin/berth
	go build -o bin/berth ./services/berth

.PHONY: dist/image
dist/image: ## what deployments/Dockerfile copies: a static binary, certificates
	mkdir -p $@/data
	CGO_ENABLED=0 go build -trimpath -o $@/berth ./services/berth
	cp -L $(or $(SSL_CERT_FILE),/etc/ssl/certs/ca-certificates.crt) $@/ca-certificates.crt

.PHONY: image
image: dist/image ## the image, called berth or IMAGE, by the Docker engine at hand
	docker build -q -t $(or $(IMAGE),berth) -f deployments/Dockerfile dist/image

.PHONY: release
release: ## dist/release: binaries, image, SBOM, chart, checksums of this commit
	tools/release

.PHONY: vulns
vulns: ## known vulnerabilities; VULNDB=DIR is a copy of their database
	tools/vulns $(VULNS)

.PHONY: compose
compose: ## docs/how-to/cluster.md, in a Docker engine of its own
	tools/e2e-cluster

.PHONY: charts
charts: ## the Helm chart: lint, and what it makes of values, right and wrong
	tools/install helm
	go test -count=1 ./tools/charts

.PHONY: e2e
e2e: build ## real clients against a real server
	tools/e2e bin/berth
	tools/e2e-chains bin/berth
	tools/e2e-pushes bin/berth
	tools/e2e-logins bin/berth

.PHONY: killrun
killrun: build ## pushes and pulls while the server is killed
	go run ./tools/killrun -berth bin/berth $(KILLRUN)

.PHONY: clusterrun
clusterrun: build ## clusters under load while nodes and servers die
	tools/install deb:postgresql deb:redis-server versitygw
	go test -count=1 -timeout 30m -v ./tools/clusterrun -args -berth $(CURDIR)/bin/berth $(CLUSTERRUN)

.PHONY: ssrfrun
ssrfrun: build ## addresses that upstreams must not lead to; as root
	tools/install deb:iproute2
	go build -o bin/ssrfrun ./tools/ssrfrun
	bin/ssrfrun -berth bin/berth $(SSRFRUN)

.PHONY: crashrun
crashrun: build ## kills at every step of every operation
	tools/install deb:postgresql versitygw
	go run ./tools/crashrun -berth bin/berth $(CRASHRUN)

.PHONY: memrun
memrun: build ## memory of parallel uploads, and how blobs are sent
	tools/install deb:strace versitygw
	go run ./tools/memrun -berth bin/berth $(MEMRUN)
	go run ./tools/memrun -berth bin/berth -s3 versitygw -uploads 150 -slow 50 -limit 256 $(MEMRUN)

.PHONY: crowdrun
crowdrun: build ## crowds and attackers beside clients that work
	tools/install deb:postgresql deb:redis-server versitygw
	go run ./tools/crowdrun -berth bin/berth $(CROWDRUN)

.PHONY: cacherun
cacherun: build ## a cache on a disk of half the size of the images; as root on a disk of its own
	go run ./tools/cacherun -berth bin/berth $(CACHERUN)

.PHONY: cutrun
cutrun: build ## blobs over lines that are cut, for many clients on three nodes
	tools/install deb:postgresql deb:redis-server versitygw
	go run ./tools/cutrun -berth bin/berth $(CUTRUN)

.PHONY: browserrun
browserrun: build ## what a foreign web page can do, in a real browser
	tools/install deb:chromium
	go run ./tools/browserrun -berth bin/berth $(BROWSERRUN)

.PHONY: ci
ci: export TIMEFORMAT := took %0R s
ci: test ## make test, generated code, a release, vulnerabilities, real clients, chart, compose file, kills, clusters, addresses, a browser, memory, crowds, a cache, cut lines
	time $(MAKE) generated
	time $(MAKE) build
	time CRASHRUN='-runs 150' tools/side-by-side e2e crashrun
	time tools/side-by-side release compose charts ssrfrun browserrun
	time $(MAKE) killrun KILLRUN="-duration 20s -clients 16 -kills 3"
	time CUTRUN='-only hopeless' CROWDRUN='-only silent' tools/side-by-side clusterrun cutrun crowdrun
	time $(MAKE) cutrun CUTRUN='-only large,crowd,killed'
	time $(MAKE) memrun
	time $(MAKE) crowdrun CROWDRUN='-only referrers,writes,shares,rates,slowputs,pushes'
	time $(MAKE) cacherun CACHERUN="-images 400 -requests 4000 -kills 2 -within 0.1" # on this small disk the database takes a large part
	time $(MAKE) vulns VULNS=--if-reachable

.PHONY: long
long: build ## the full counts, for hours; continues where it stopped, unless LONG=--again
	tools/long $(LONG)

.PHONY: bench
bench: build ## Go benchmarks, then side by side with distribution
	tools/install deb:postgresql deb:redis-server versitygw registry
	go test -run '^$$' -bench . -benchmem work
	go run ./tools/bench -berth bin/berth -distribution "$$(command -v registry)" $(BENCH)

.PHONY: generate
generate: ## code from api/berth/admin/v1/*.proto, docs/reference from the code
	tools/generate

.PHONY: generated
generated: ## whether make generate would change anything
	@before="$$(find api docs/reference -type f -exec sha256sum {} + | sort)"; \
	tools/generate; \
	after="$$(find api docs/reference -type f -exec sha256sum {} + | sort)"; \
	diff <(echo "$$before") <(echo "$$after") || { echo 'commit what make generate makes' >&2; exit 1; }

.PHONY: clean
clean: ## what was built here
	rm -rf bin dist
