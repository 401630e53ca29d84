# See https://tech.davis-hansson.com/p/make/
SHELL := bash
.DELETE_ON_ERROR:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
MAKEFLAGS += --warn-undefined-variables
MAKEFLAGS += --no-builtin-rules
MAKEFLAGS += --no-print-directory

GO ?= go
BUILD := .build
# For how long `make fuzz` runs each target.
FUZZTIME ?= 30s
# What is given to the programs, as in `make run ARGS=--help`.
ARGS ?=

BUF := $(GO) tool -modfile=tools/buf/go.mod buf
GOLANGCI_LINT := $(GO) tool -modfile=tools/lint/go.mod golangci-lint
# Where the tests keep the Node side of their peers.
NODE_DIRS = $(dir $(shell git ls-files '*testdata/node*/package.json' '*testdata/*/package.json' | sort -u))

.PHONY: help
help: ## Describe useful make targets
	@grep -E '^[a-zA-Z0-9_-]+:.*?## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*?## "}; {printf "%-16s %s\n", $$1, $$2}'

.PHONY: all
all: lint test ## Lint and test (default)

.PHONY: build
build: ## Build classrecd and classrec into bin/
	$(GO) build -o bin/ ./server/classrecd ./client/classrec

.PHONY: run
run: ## Run classrecd with its embedded room server (ARGS=… for flags)
	$(GO) run ./server/classrecd $(ARGS)

.PHONY: demo
demo: ## Record a class with a synthetic teacher and student, from start to checked files
	$(GO) run ./server/classrecd demo $(ARGS)

.PHONY: test
test: ## Run the tests; they need only Go
	$(GO) test -race ./...

.PHONY: e2e
e2e: setup-e2e ## Run all tests, those against ffmpeg, Node and Chromium too
	$(GO) test -race -tags e2e -count=1 ./...

.PHONY: setup-e2e
setup-e2e: ## Install what the end-to-end tests need (Debian packages, npm packages)
	@missing=(); \
	for tool in ffmpeg:ffmpeg ffprobe:ffmpeg chromium:chromium node:nodejs npm:npm; do \
		command -v "$${tool%%:*}" >/dev/null || missing+=("$${tool##*:}"); \
	done; \
	if (($${#missing[@]})); then \
		root=(); if (($$(id -u))); then root=(sudo); fi; \
		echo "installing $${missing[*]}"; \
		export DEBIAN_FRONTEND=noninteractive; \
		"$${root[@]}" apt-get update -q </dev/null; \
		"$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}" </dev/null; \
	fi
	@for dir in $(NODE_DIRS); do \
		stamp="$$dir/node_modules/.package-lock.json"; \
		if [[ ! "$$stamp" -nt "$$dir/package-lock.json" ]]; then \
			echo "npm ci in $$dir"; \
			(cd "$$dir" && PUPPETEER_SKIP_DOWNLOAD=1 npm ci --no-audit --no-fund </dev/null); \
			touch "$$stamp"; \
		fi; \
	done

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@grep -rlE '^func Fuzz[A-Za-z0-9_]*\(f \*testing\.F\)' --include='*_test.go' . | sort | while read -r file; do \
		dir="$$(dirname "$$file")"; \
		grep -oE '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -d' ' -f2 | while read -r target; do \
			echo "$$dir $$target"; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$$dir" </dev/null; \
		done; \
	done

.PHONY: bench
bench: setup-e2e ## Measure against the limits that docs/performance.md names; print the table
	@# Not in /tmp: where other tests have just removed thousands of files, ext4 is slow to make new ones.
	@mkdir -p $(BUILD)
	@# The log is kept whole; the lines of the table begin with BENCH. One package at a time: they measure.
	@dir="$$(mktemp -d $(abspath $(BUILD))/bench.XXXXXX)"; trap 'rm -rf "$$dir"' EXIT; status=0; \
	TMPDIR="$$dir" $(GO) test -tags bench -run '^TestBench' -count=1 -p 1 -timeout 30m -v ./server/... >$(BUILD)/bench.log 2>&1 || status=$$?; \
	sed -n 's/^BENCH //p' $(BUILD)/bench.log; \
	if ((status)); then grep -E '^ *--- FAIL|^FAIL|panic:|_test\.go:' $(BUILD)/bench.log || true; fi; \
	echo "log: $(BUILD)/bench.log"; \
	exit $$status

.PHONY: lint
lint: $(BUILD)/protodeps ## Run the linters
	@unformatted="$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l)"; \
	if [[ -n "$$unformatted" ]]; then echo "gofmt is needed for:" >&2; echo "$$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GOLANGCI_LINT) run
	$(BUF) lint proto

.PHONY: lint-fix
lint-fix: ## Run the linters that can mend what they find
	$(GOLANGCI_LINT) run --fix

.PHONY: protodeps
protodeps: $(BUILD)/protodeps ## Write what proto/ imports into .build/

# What proto/ imports, written out of the Go modules of tools/gen.
$(BUILD)/protodeps: tools/gen/go.mod tools/gen/protodeps/main.go
	rm -rf $@
	cd tools/gen && $(GO) run ./protodeps ../../$@
	touch $@

.PHONY: generate
generate: $(BUILD)/protodeps ## Regenerate gen/ from proto/
	@# Not buf's own clean, which would take gen/openapi/embed.go too.
	rm -rf gen/go/classrec gen/openapi/classrec
	$(BUF) generate
	@# The generator of OpenAPI knows no field rules, and nothing of our gateway.
	$(BUF) build -o $(BUILD)/proto.binpb
	cd tools/gen && $(GO) run ./openapi ../../$(BUILD)/proto.binpb ../../gen/openapi/classrec/v1/recording_service.openapi.json

.PHONY: checkgenerate
checkgenerate: ## Check that gen/ is what proto/ gives
	@$(MAKE) generate
	git --no-pager diff --exit-code -- gen
	@untracked="$$(git ls-files --others --exclude-standard -- gen)"; \
	if [[ -n "$$untracked" ]]; then echo "generated and not committed:" >&2; echo "$$untracked" >&2; exit 1; fi

.PHONY: breaking
breaking: $(BUILD)/protodeps ## Check that proto/ breaks nobody since the newest tag (or the commit before)
	@against="$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse --verify --quiet HEAD~1 || true)"; \
	if [[ -z "$$against" ]] || ! git cat-file -e "$$against:proto" 2>/dev/null; then echo "no earlier proto to compare with"; exit 0; fi; \
	echo "comparing with $$against"; \
	rm -rf $(BUILD)/against; mkdir -p $(BUILD)/against/.build; \
	git archive "$$against" proto buf.yaml | tar -x -C $(BUILD)/against; \
	cp -r $(BUILD)/protodeps $(BUILD)/against/.build/protodeps; \
	$(BUF) breaking proto --against $(BUILD)/against/proto

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BUILD) bin
	find . -name node_modules -type d -prune -exec rm -rf {} +
