# RedFlag: `make demo` and `make test` need Go and make, nothing else.

GOBIN      := $(CURDIR)/.bin
LINT       := v2.15.0
GOTESTSUM  := v1.13.0
# Later versions need modules that the public proxy does not serve.
NFPM       := v2.43.0
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
# The race detector needs a C compiler; without one the tests run plain.
RACE       := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && [ "$$(go env CGO_ENABLED)" = 1 ] && echo -race)
# Packages that a test of several processes needs time for.
TESTFLAGS  ?= -timeout 25m
ARGS       ?=

DASHBOARD  := node/dashboard

.PHONY: soak sim sim-check fleet bench-go storm help build demo dashboard test test-dashboard lint lint-dashboard fmt bench bench-swarm bench-delta bench-memory fuzz fuzz-ci clean package cross
help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/redflag, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/redflag ./cmd/redflag

dashboard: $(DASHBOARD)/node_modules ## Build the web pages that the binary embeds (needs Node.js 20)
	cd $(DASHBOARD) && npm run --silent build

demo: build ## Run a whole mesh on this machine (ARGS="--once --json --chaos")
	@bin/redflag demo $(ARGS)

# Packages begin in the order of their names here; what takes longest goes first.
LONGEST := ./e2e ./consensus ./node ./agent ./ratelimit ./trust/attack

test: build $(GOBIN)/gotestsum ## Run every test, with real processes
	REDFLAG_BINARY=$(CURDIR)/bin/redflag $(GOBIN)/gotestsum --format pkgname -- $(RACE) $(TESTFLAGS) $(LONGEST) ./...

test-dashboard: dashboard build ## Drive the pages with chromium against a real cluster
	go test ./$(DASHBOARD)
	REDFLAG_BINARY=$(CURDIR)/bin/redflag REDFLAG_DASHBOARD=1 go test -count=1 -timeout 10m ./e2e -run TestDashboard

lint-dashboard: $(DASHBOARD)/node_modules ## Type-check and lint the pages' source
	cd $(DASHBOARD) && npm run --silent lint

lint: $(GOBIN)/golangci-lint ## Vet, lint and check the format
	go vet ./...
	$(GOBIN)/golangci-lint run ./...

fmt: $(GOBIN)/golangci-lint ## Format every file
	$(GOBIN)/golangci-lint fmt ./...

bench: build ## Run every benchmark and write docs/benchmarks.md (ARGS="-only polls,fleet")
	go run ./bench $(ARGS)

bench-go: ## Run the benchmarks of Go's kind; ratios in one run count, single times do not
	go test -run '^$$' -bench . -benchmem ./...

bench-swarm: ## Race the swarm against the physical limit (root; ARGS="-agents 8,16,32 -mib 64,256 -links even -runs 5")
	@CGO_ENABLED=0 go build -o bin/swarmbench ./p2p/swarmbench && bin/swarmbench $(ARGS)

sim: ## Simulate a swarm past one machine (ARGS="-agents 10000,100000 -links wide -churn 0.1")
	@CGO_ENABLED=0 go build -o bin/swarmsim ./p2p/swarmsim && bin/swarmsim $(ARGS)

sim-check: ## Measure swarms of 16 and 32 agents (root), simulate the same, print both
	@rows=$$(mktemp) && trap 'rm -f "$$rows"' EXIT && CGO_ENABLED=0 go build -o bin/swarmsim ./p2p/swarmsim && \
	REDFLAG_BENCH_ROWS=$$rows $(MAKE) -s bench-swarm ARGS="-agents 16,32 -mib 64 -links even,mixed -rate 8mbit -runs 1 -http=false" && bin/swarmsim -rate 8mbit -against "$$rows"

bench-delta: ## Deltas between two Go toolchains against zstd and xdelta3 (ARGS="-old A -new B")
	@CGO_ENABLED=0 go build -o bin/deltabench ./payload/deltabench && bin/deltabench $(ARGS)

bench-memory: build ## Peak memory of an agent and a node with a payload of 1 GiB
	@REDFLAG_BINARY=$(CURDIR)/bin/redflag REDFLAG_MEMORY_MIB=1024 go test -count=1 ./e2e -run TestPayloadMemory -v | grep -E '^(payload|---|FAIL|ok)'

storm: build ## 200 agents log 200,000 lines, a node is killed: each is found once
	REDFLAG_STORM=full REDFLAG_BINARY=$(CURDIR)/bin/redflag go test -count=1 -v -timeout 5m ./e2e -run '^TestLogStorm$$'

soak: build ## Nodes and agents under load and faults, then what must hold (root; DURATION=10m SEED=7)
	REDFLAG_SOAK=$(or $(DURATION),10m) REDFLAG_SOAK_SEED=$(SEED) REDFLAG_BINARY=$(CURDIR)/bin/redflag go test -count=1 -v -timeout 0 ./e2e -run '^TestSoak$$'

bench-consensus: ## Raw Raft against the queue, and a rollout to 100,000 agents, in one table
	go test -run '^$$' -bench '^BenchmarkConsensus$$' -benchtime 1x -timeout 20m ./consensus

fleet: build ## Light agents against one node of this machine (AGENTS=100000)
	REDFLAG_FLEET=$${REDFLAG_FLEET:-$(or $(AGENTS),100000)} REDFLAG_BINARY=$(CURDIR)/bin/redflag go test -count=1 -v -timeout 30m ./e2e -run '^Test(Fleet|PollCost)$$'

fuzz: ## Run each fuzz target for FUZZTIME (default 10s)
	@set -e; for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} -fuzzminimizetime 20x $$pkg; \
	  done; done

# Every decoder that bytes reach before their sender has proved anything: what
# strangers send to a node, and what nodes, who are not trusted, send to agents.
# Each with its number of inputs, a matter of seconds: a time would make a slow
# machine fail (golang/go#75804, "context deadline exceeded", until Go 1.27).
FUZZ_CI := api:FuzzStrangersBody:100000 api:FuzzCorrelation:100000 \
  trust/pki:FuzzOpenSession:100000 trust/pki:FuzzSplitOperatorToken:100000 \
  trust/pki:FuzzParseRegistrationToken:100000 trust/pki:FuzzSign:100000 \
  trust/pki:FuzzParseIdentity:100000 trust/pki:FuzzVerifyOrder:100000 \
  p2p/plain:FuzzParseAnnounce:100000 p2p/plain:FuzzReadMessage:100000 p2p:FuzzTLSRecords:100000 \
  publish:FuzzBundle:40000 trust:FuzzCheckRootUpdate:7000 trust:FuzzCheckTargets:7000 trust:FuzzTarget:1500

fuzz-ci: ## Fuzz each decoder that strangers reach, two side by side
	@set -e; out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; cache=$$(go env GOCACHE)/fuzz; \
	for pkg in $(sort $(foreach f,$(FUZZ_CI),$(firstword $(subst :, ,$(f))))); do \
	  go test -c -fuzz Fuzz -o "$$out/$$(echo $$pkg | tr / -)" ./$$pkg; done; \
	printf '%s\n' $(subst :, ,$(FUZZ_CI)) | xargs -P 2 -n 3 sh -c 'set -e; pkg=$$0; name=$$1; cd $$pkg; \
	  log='"$$out"'/$$name.log; if '"$$out"'/$$(echo $$pkg | tr / -) -test.run "^$$" -test.fuzz "^$$name$$" \
	    -test.fuzztime "$$2"x -test.fuzzminimizetime 20x -test.parallel 1 -test.fuzzcachedir '"$$cache"'/redflag/$$pkg >$$log 2>&1; \
	  then echo "$$pkg $$name: $$(grep -o "execs: [0-9]*" $$log | tail -1)"; else cat $$log; exit 255; fi'

package: build $(GOBIN)/nfpm ## Build dist/*.deb and dist/*.rpm for this kind of machine
	mkdir -p dist
	@set -e; version=$$(echo '$(VERSION)' | sed -E 's/^v//; /^[0-9]+\.[0-9]+/!s/^/0.0.0+/'); for format in deb rpm; do \
	  ARCH=$$(go env GOARCH) PACKAGE_VERSION=$$version $(GOBIN)/nfpm package --config packaging/nfpm.yaml --packager $$format --target dist/; done

cross: ## Compile for the other systems that agents run on
	@set -e; for kind in windows/amd64 darwin/arm64 linux/arm64; do echo $$kind; \
	  CGO_ENABLED=0 GOOS=$${kind%/*} GOARCH=$${kind#*/} go build -o /dev/null ./cmd/redflag; done

clean: ## Remove what was built
	rm -rf bin dist .bin $(DASHBOARD)/dist/* $(DASHBOARD)/node_modules

$(DASHBOARD)/node_modules: $(DASHBOARD)/package-lock.json
	cd $(DASHBOARD) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(GOBIN)/golangci-lint:
	GOBIN=$(GOBIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT)

$(GOBIN)/gotestsum:
	GOBIN=$(GOBIN) go install gotest.tools/gotestsum@$(GOTESTSUM)

$(GOBIN)/nfpm:
	GOBIN=$(GOBIN) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM)
