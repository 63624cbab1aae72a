# `make` alone lists what there is. Everything is built from this tree and the Go module proxy.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(CURDIR)/.tools/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint

# What the longer targets do can be changed from the command line: make sim SEEDS=1-20.
SEEDS    ?= 1-1000
DETSEEDS ?= 1-200
RACESEEDS ?= 1-10
FUZZTIME ?= 10s
OPERATIONS ?= 100000
LONGKEYS ?= 10000000
REPETITIONS ?= 3
DEMOFLAGS ?=
BENCHFLAGS ?=

# packages-with PATTERN lists the packages that have a test file with a line like that.
packages-with = $(addprefix ./,$(sort $(dir $(shell git grep -lE --untracked '$(1)' -- '*_test.go' ':!*/testdata/*'))))

.PHONY: help build demo test test-long differential race clients clients-table lint lint-selftest golden fuzz sim sim-determinism sim-determinism-race mutants mutants-table crash-matrix reshard bench bench-long bench-migration bench-go bench-sim clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile

build: ## build bin/godwit
	go build -o bin/godwit ./cmd/godwit

demo: build ## move live slots between three real nodes under load, kill one of them, and judge what clients saw
	bin/godwit demo $(DEMOFLAGS)

test: ## run the tests, and with the tag "mutants" those that require each planted bug to be found
	go test -timeout 20m ./...
	go test -timeout 20m -count 1 -v -run '^TestModelHandoff$$' ./migration
	go test -timeout 20m -tags mutants -run Model ./migration/...
	go test -timeout 20m -tags mutants -run 'Hunt|Schedules' ./sim
	go test -timeout 20m -tags mutants -run FindMutants ./fuzz
	go test -timeout 20m -tags mutants -run MutantVerify ./cmd/godwit
	go test -timeout 20m -tags mutants -run 'MutantsFail|ExpiredResurrect' ./engine/... ./migration/driver

test-long: ## find one flipped bit and one missing key among LONGKEYS (10000000) keys
	GODWIT_LONG_KEYS=$(LONGKEYS) go test -timeout 120m -count 1 -v -run '^TestVerifyNeedle$$' ./cmd/godwit

differential: ## compare OPERATIONS (100000) random commands of each type, in each version of the protocol, with a real Redis
	go test -timeout 120m -count 1 -v -run '^Test(Transactions)?AgainstRedis$$' ./engine/command ./engine/host -args -operations $(OPERATIONS)

race: ## run the stress tests over real sockets under the race detector
	go test -timeout 20m -count 1 -race -run Stress $(call packages-with,^func Test[A-Za-z0-9_]*Stress)

clients: build clients/node/node_modules ## run client libraries against real nodes, and compare what works with the table in README.md
	go test -timeout 10m -count 1 -v -run '^TestClients$$' ./clients -godwit $(CURDIR)/bin/godwit -table check

clients-table: build clients/node/node_modules ## run client libraries against real nodes, and write the table in README.md
	go test -timeout 10m -count 1 -v -run '^TestClients$$' ./clients -godwit $(CURDIR)/bin/godwit -table write

clients/node/node_modules: clients/node/package.json clients/node/package-lock.json
	@if command -v npm >/dev/null; then cd clients/node && npm ci --ignore-scripts --no-audit --no-fund && touch node_modules; \
	else echo "npm is not installed: there will be no clients of Node.js"; fi

lint: $(GOLANGCI) bin/detlint lint-selftest ## check the rules of .golangci.yml and of cmd/detlint, and that they see what is planted
	$(GOLANGCI) run --allow-parallel-runners ./...
	go vet -vettool=$(CURDIR)/bin/detlint ./...
	go vet -vettool=$(CURDIR)/bin/detlint -tags mutants ./...

lint-selftest: $(GOLANGCI) bin/detlint ## check that each violation planted for the linters is reported
	go test -count 1 -tags lint -run 'Planted|Vet' ./cmd/detlint -golangci=$(GOLANGCI) -vettool=$(CURDIR)/bin/detlint

golden: ## rewrite the golden files and scripts from what the code does now; read the diff before you commit it
	$(foreach p,$(call packages-with,"update"), go test -count 1 $(p) -update;)
	$(foreach p,$(call packages-with,cockroachdb/datadriven), go test -count 1 $(p) -rewrite;)

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@.ci/fuzz $(FUZZTIME)

sim: build ## simulate the seeds SEEDS (1-1000)
	bin/godwit sim run --seeds $(SEEDS)

sim-determinism: build ## simulate DETSEEDS (1-200) thrice, in two processes, and compare their traces; then see that a planted difference is reported
	bin/godwit sim determinism --seeds $(DETSEEDS)
	@if bin/godwit sim determinism --seeds 1-2 --planted >/dev/null 2>&1; then echo "an iteration over a map was not reported"; exit 1; fi

sim-determinism-race: build ## simulate RACESEEDS (1-10) under the race detector too, and compare
	go build -race -o bin/godwit-race ./cmd/godwit
	bin/godwit sim determinism --seeds $(RACESEEDS) --binary bin/godwit-race

crash-matrix: ## kill source, target and both, and cut their link, REPETITIONS (3) times at every step of a move between real processes
	GODWIT_CRASH_REPETITIONS=$(REPETITIONS) go test -timeout 60m -count 1 -run '^TestCrashMatrix$$' -v ./cmd/godwit

reshard: ## let redis-cli move 1,000 slots to a node, and balance the cluster again, under load
	GODWIT_RESHARD_SLOTS=1000 go test -timeout 20m -count 1 -run '^TestRedisCliReshards$$' -v ./cmd/godwit

mutants-table: ## look for each planted bug 20 times and write the table in sim/README.md
	go run -tags mutants ./cmd/godwit sim mutants --searches 20 --markdown sim/README.md

mutants: ## plant each known bug in the real code and require that the simulator, or the stress test over sockets, finds it
	go run -tags mutants ./cmd/godwit sim mutants
	go test -timeout 20m -count 1 -tags mutants -run 'MutantRouteBeforeLock|MutantVerifyGap' -v ./cmd/godwit

bench: build ## measure throughput and latency beside redis-server, in a quarter of an hour; BENCHFLAGS=-quick takes two minutes
	go run ./cmd/bench $(BENCHFLAGS)

bench-long: build ## overwrite keys for ten minutes and show the longest stalls
	go run ./cmd/bench -overwrite 10m $(BENCHFLAGS)

bench-migration: build ## measure moves between two nodes, idle and under writes, in ten minutes; BENCHFLAGS=-quick takes two
	go run ./cmd/bench -migration $(BENCHFLAGS)

bench-go: ## run the benchmarks of the packages, with allocations
	go test -run '^$$' -bench . -benchmem $(call packages-with,^func Benchmark)

bench-sim: ## measure how many seeds a worker runs a second, on each engine of the store
	GOGC=off GOMEMLIMIT=128MiB go test -run '^$$' -bench Seeds -benchtime 100x ./sim

clean: ## remove what was built, but not the linter
	rm -rf bin .cache demo-*

.PHONY: bin/detlint
bin/detlint: # the go command knows better than make whether it is up to date
	@go build -o $@ ./cmd/detlint

$(GOLANGCI): # outside our go.mod, so that its dependencies are not ours
	GOBIN=$(dir $@) GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
