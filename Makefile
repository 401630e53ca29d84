# See https://tech.davis-hansson.com/p/make/
SHELL := bash
.DELETE_ON_ERROR:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
MAKEFLAGS += --warn-undefined-variables
MAKEFLAGS += --no-builtin-rules
MAKEFLAGS += --no-print-directory

GO ?= go
# What runs tests: .ci/run sets it to a program that runs failed ones again, and says so.
GOTEST ?= $(GO) test
BUILD := .build
# For how long `make fuzz` runs each target.
FUZZTIME ?= 30s
# The generators of Java code; docs/clients/java/pom.xml has the libraries.
PROTOC := 4.36.2
GRPC_JAVA := 1.83.1
# For which platforms `make dist` builds; all without.
TARGETS ?=
# What is given to the programs, as in `make run ARGS=--help`.
ARGS ?=

BUF := $(GO) tool -modfile=tools/buf/go.mod buf
GOVULNCHECK := $(GO) tool -modfile=tools/security/go.mod govulncheck
INDEXDB := $(GO) tool -modfile=tools/security/go.mod indexdb
GOLANGCI_LINT := $(GO) tool -modfile=tools/lint/go.mod golangci-lint
# GStreamer as a publisher by WebRTC: its encoders, webrtcbin, and Python's way to them.
GSTREAMER := gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-nice \
	python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0
AIORTC := server/internal/e2e/testdata/python/requirements.txt
# The packages with tests that `make test` leaves out.
E2E_DIRS = $(sort $(dir $(shell grep -rlE --include='*_test.go' '^//go:build .*\be2e\b' client server | sed 's|^|./|')))
# Where the tests keep the Node side of their peers.
NODE_DIRS = $(dir $(shell git ls-files '*testdata/node*/package.json' '*testdata/*/package.json' 'docs/clients/*/package.json' | sort -u))

.PHONY: help
help: ## Describe useful make targets
	@grep -E '^[a-zA-Z0-9_-]+:.*?## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*?## "}; {printf "%-16s %s\n", $$1, $$2}'

.PHONY: all
all: lint test ## Lint and test (default)

.PHONY: build
build: ## Build classrecd and classrec into bin/
	$(GO) build -o bin/ ./server/classrecd ./client/classrec

.PHONY: dist
dist: ## Make what is released, in dist/: archives, .deb, .rpm, SBOM, checksums (TARGETS="linux/amd64 …" for some)
	tools/release/dist $(TARGETS)

.PHONY: run
run: ## Run classrecd with its embedded room server (ARGS=… for flags)
	$(GO) run ./server/classrecd $(ARGS)

.PHONY: demo
demo: ## Record a class with a synthetic teacher and student, from start to checked files
	$(GO) run ./server/classrecd demo $(ARGS)

.PHONY: test
test: ## Run the tests; they need only Go
	$(GOTEST) -race ./...

.PHONY: e2e
e2e: setup-e2e ## Run the tests against ffmpeg, Node, Chromium, Firefox, GStreamer, Python and Java, and all others of their packages
	$(GOTEST) -race -tags e2e -count=1 $(E2E_DIRS)

.PHONY: setup-e2e
setup-e2e: $(BUILD)/protodeps ## Install what the end-to-end tests need (Debian packages, npm packages)
	@missing=(); \
	for tool in ffmpeg:ffmpeg ffprobe:ffmpeg chromium:chromium curl:curl zsh:zsh fish:fish node:nodejs npm:npm jq:jq python3:python3-venv javac:default-jdk-headless mvn:maven firefox-esr:firefox-esr mkvinfo:mkvtoolnix turnserver:coturn protoc:protobuf-compiler systemd-analyze:systemd openssl:openssl; do \
		command -v "$${tool%%:*}" >/dev/null || missing+=("$${tool##*:}"); \
	done; \
	if [[ ! -x /usr/sbin/nginx ]]; then missing+=(nginx-light); fi; \
	php -r 'exit(extension_loaded("curl") ? 0 : 1);' 2>/dev/null || missing+=(php-cli php-curl); \
	if [[ -z "$$(fc-list :lang=zh 2>/dev/null)" ]]; then missing+=(fonts-wqy-microhei); fi; \
	if [[ ! -e /usr/share/doc/gir1.2-gst-plugins-bad-1.0 || ! -e /usr/share/doc/gstreamer1.0-plugins-ugly ]]; then missing+=($(GSTREAMER)); fi; \
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
	@if [[ ! $(BUILD)/python -nt docs/clients/python/requirements.txt || ! $(BUILD)/python -nt tools/gen/clients/requirements.txt || ! $(BUILD)/python -nt $(AIORTC) ]]; then \
		echo "python packages in $(BUILD)/python"; \
		rm -rf $(BUILD)/python; \
		python3 -m venv $(BUILD)/python; \
		$(BUILD)/python/bin/pip install -q --disable-pip-version-check -r docs/clients/python/requirements.txt -r tools/gen/clients/requirements.txt -r $(AIORTC); \
		touch $(BUILD)/python; \
	fi
	@mkdir -p $(BUILD); cd tools/grpcurl && $(GO) build -o ../../$(BUILD)/grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@grep -rlE '^func Fuzz[A-Za-z0-9_]*\(f \*testing\.F\)' --include='*_test.go' . | sort | while read -r file; do \
		dir="$$(dirname "$$file")"; \
		grep -oE '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -d' ' -f2 | while read -r target; do \
			echo "$$dir $$target"; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$$dir" </dev/null; \
		done; \
	done

.PHONY: media
media: setup-e2e ## Measure what is kept of what browsers and others send through bad networks; print the rows of docs/media.md (RUN='^TestMedia_Joins$$' for one)
	@mkdir -p $(BUILD)
	@status=0; $(GO) test -tags e2e,media -run "$${RUN:-^TestMedia}" -count=1 -timeout 1h -v ./server/internal/e2e >$(BUILD)/media.log 2>&1 || status=$$?; \
	sed -n 's/^MEDIA //p' $(BUILD)/media.log; \
	if ((status)); then grep -E '^ *--- FAIL|^FAIL|panic:|_test\.go:' $(BUILD)/media.log || true; fi; \
	echo "log: $(BUILD)/media.log"; \
	exit $$status

.PHONY: setup-bench
setup-bench: setup-e2e ## Install what the bench compares with (Debian package janus)
	@if ! command -v janus >/dev/null; then \
		root=(); if (($$(id -u))); then root=(sudo); fi; \
		"$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends janus </dev/null; \
	fi

.PHONY: bench
bench: setup-bench ## Measure against the limits that docs/performance.md names; print the table
	@# Not in /tmp: where other tests have just removed thousands of files, ext4 is slow to make new ones.
	@mkdir -p $(BUILD)
	@# The log is kept whole; the lines of the table begin with BENCH. One package at a time: they measure.
	@dir="$$(mktemp -d $(abspath $(BUILD))/bench.XXXXXX)"; trap 'rm -rf "$$dir"' EXIT; status=0; \
	TMPDIR="$$dir" $(GO) test -tags bench -run '^TestBench' -count=1 -p 1 -timeout 30m -v ./server/... >$(BUILD)/bench.log 2>&1 || status=$$?; \
	sed -n 's/^BENCH //p' $(BUILD)/bench.log; \
	if ((status)); then grep -E '^ *--- FAIL|^FAIL|panic:|_test\.go:' $(BUILD)/bench.log || true; fi; \
	echo "log: $(BUILD)/bench.log"; \
	exit $$status

.PHONY: model
model: ## Have 100,000 random classes (MODEL_CLASSES) with odd fields in rooms, against a model of what must be recorded
	CLASSREC_MODEL_CLASSES=$${MODEL_CLASSES:-100000} $(GO) test ./server/internal/roomserver -run '^TestModel$$' -count=1 -timeout 1h -v

.PHONY: chaos
chaos: setup-e2e ## Break things for long, and print what became of them (CHAOS_KILLS, CHAOS_RECONNECTS, CHAOS_MINUTES and CHAOS_ROOMS; RUN='^TestKills$$' for one; make soak is apart)
	@mkdir -p $(BUILD)
	@# The log is kept whole; the lines of the report begin with CHAOS. What a failed test leaves is in its TMPDIR.
	@dir="$$(mktemp -d $(abspath $(BUILD))/chaos.XXXXXX)"; status=0; \
	TMPDIR="$$dir" $(GO) test -tags chaos -run "$${RUN:-^Test[^S]}" -count=1 -p 1 -timeout 4h -v ./server/internal/chaos >$(BUILD)/chaos.log 2>&1 || status=$$?; \
	sed -n 's/^CHAOS //p' $(BUILD)/chaos.log; \
	if ((status)); then grep -E '^ *--- FAIL|^FAIL|panic:|_test\.go:' $(BUILD)/chaos.log || true; else rm -rf "$$dir"; fi; \
	echo "log: $(BUILD)/chaos.log"; \
	exit $$status

.PHONY: soak
soak: setup-e2e ## Let rooms, watchers and publishers come and go for an hour (SOAK_MINUTES), and draw what the process needs meanwhile
	@mkdir -p $(BUILD)
	@SOAK_CSV="$${SOAK_CSV:-$(abspath $(BUILD))/soak.csv}" SOAK_SVG="$${SOAK_SVG:-$(abspath $(BUILD))/soak.svg}" \
		$(GO) test -tags chaos -run '^TestSoak$$' -count=1 -timeout 8h -v ./server/internal/chaos | sed -n 's/^CHAOS //p; /^ok/p; /FAIL/p; /_test\.go:/p'
	@echo "samples: $(BUILD)/soak.csv, plot: $(BUILD)/soak.svg"

.PHONY: lint
lint: $(BUILD)/protodeps ## Run the linters
	@unformatted="$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l)"; \
	if [[ -n "$$unformatted" ]]; then echo "gofmt is needed for:" >&2; echo "$$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GOLANGCI_LINT) run
	$(BUF) lint proto

.PHONY: security
security: ## Look for known vulnerabilities (govulncheck) and for weak code (gosec, which make lint runs too)
	$(GOLANGCI_LINT) run --enable-only gosec
	@# The newest database, as the Go module that it is made of: the proxy of modules is all that is needed.
	mkdir -p $(BUILD); rm -rf $(BUILD)/vulndb
	cd tools/security && $(GO) mod download -json golang.org/x/vulndb@latest >../../$(BUILD)/vulndb.json
	sed -n 's/.*"Version": "\(.*\)".*/the database is of \1/p' $(BUILD)/vulndb.json
	$(INDEXDB) -vulns "$$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' $(BUILD)/vulndb.json)/data/osv" -out $(BUILD)/vulndb
	@# With the Go that go.mod asks for, whatever is installed: its library is looked at too.
	GOTOOLCHAIN=auto $(GOVULNCHECK) -db file://$(abspath $(BUILD))/vulndb ./...

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
generate: $(BUILD)/protodeps ## Regenerate gen/ and docs/api.md from proto/
	@# Not buf's own clean, which would take gen/openapi/embed.go too.
	rm -rf gen/go/classrec gen/openapi/classrec
	$(BUF) generate
	@# The generator of OpenAPI knows no field rules, and nothing of our gateway.
	$(BUF) build -o $(BUILD)/proto.binpb
	cd tools/gen && $(GO) run ./openapi ../../$(BUILD)/proto.binpb ../../gen/openapi/classrec/v1/recording_service.openapi.json
	cd tools/gen && $(GO) run ./apidoc ../../$(BUILD)/proto.binpb ../../docs/api.md
	rm -rf gen/proto
	cd tools/gen && $(GO) run ./publicprotos ../../$(BUILD)/proto.binpb ../../gen/proto ../../gen/classrec.binpb
	$(BUF) format -w gen/proto

# The generators of other languages: from PyPI, npm and Maven Central.
CLIENTS := $(BUILD)/clients

$(CLIENTS): tools/gen/clients/requirements.txt tools/gen/clients/package-lock.json
	rm -rf $@
	python3 -m venv $@
	$@/bin/pip install -q --disable-pip-version-check -r tools/gen/clients/requirements.txt
	cd tools/gen/clients && npm ci --no-audit --no-fund </dev/null
	for artifact in com.google.protobuf:protoc:$(PROTOC) io.grpc:protoc-gen-grpc-java:$(GRPC_JAVA); do \
		mvn -q -B dependency:copy -Dartifact=$$artifact:exe:linux-x86_64 -DoutputDirectory=$(abspath $@) -Dmdep.stripVersion=true </dev/null; \
	done
	for tool in protoc protoc-gen-grpc-java; do mv $@/$$tool-linux-x86_64.exe $@/$$tool; chmod +x $@/$$tool; done
	touch $@

.PHONY: generate-clients
generate-clients: $(BUILD)/protodeps $(CLIENTS) ## Regenerate gen/python, gen/typescript and gen/java from proto/ (needs Python, Node and Maven)
	rm -rf gen/python/classrec gen/java/dev gen/typescript/classrec gen/typescript/google
	$(BUF) generate --template buf.gen.clients.yaml
	$(BUF) generate --template buf.gen.typescript.yaml

.PHONY: checkgenerate
checkgenerate: ## Check that gen/ and docs/api.md are what proto/ gives
	@$(MAKE) generate
	@$(MAKE) generate-clients
	git --no-pager diff --exit-code -- gen docs/api.md
	@untracked="$$(git ls-files --others --exclude-standard -- gen docs/api.md)"; \
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
