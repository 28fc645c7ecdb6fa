# anycert: `make help` explains every target.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := bin

# One set of flags for all, and the release's: any other makes Go compile a thousand
# packages anew.
export GOFLAGS += -trimpath
export CGO_ENABLED = 0

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## the anycert binary, into bin/
	go build -buildvcs=auto -ldflags '-s -w' -o $(BIN)/ ./cmd/anycert

.PHONY: image
image: ## the OCI image for amd64 and arm64, into dist/: no container engine needed, the same bytes each time
	go run -C internal/release . image

.PHONY: release
release: ## archives for linux and darwin, bills of materials, SHA256SUMS, into dist/
	go run -C internal/release . archives

.PHONY: demo
demo: build ## the main job on this machine; REAL=1 builds and uses the real Vault and kube-apiserver, KEEP=1 leaves the daemon running
	@go build -o $(BIN)/ ./cmd/anycert-demo
	$(if $(REAL),go run ./internal/testenv/cmd/rig build vault etcd kube-apiserver)
	@$(BIN)/anycert-demo -anycert $(BIN)/anycert $(if $(REAL),-real) $(if $(KEEP),-keep)

.PHONY: rig
rig: ## build the real Vault, etcd, kube-apiserver, kubectl and helm once (about 15 minutes when cold)
	go run ./internal/testenv/cmd/rig build

.PHONY: packages
packages: ## install the Debian packages that tests need (as root)
	go run ./internal/testenv/cmd/rig packages

.PHONY: test
test: packages rig ## every test, on the real parts (Debian, as root for a few packages)
	go vet ./...
	go test -count=1 -timeout 20m ./...
	go test -C internal/release -count=1 ./...

.PHONY: check
check: ## the gate before a commit: format, vet, lint, race detector, short fuzz, secrets, known vulnerabilities
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'gofmt would change:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1005,-SA1019 ./...
	CGO_ENABLED=1 go test -race -short . ./reconcile ./store/... ./issuer/... ./sinks/... ./internal/config/...
	go test -run '^$$' -fuzz FuzzParseBundle -fuzztime 10s .
	go test -run '^$$' -fuzz FuzzLoad -fuzztime 10s ./internal/config
	go run -C internal/release . licences -check
	$(MAKE) secrets vuln

.PHONY: secrets
secrets: ## search every commit and the working tree for secrets; what is allowed stands in .gitleaks.toml
	go run github.com/zricethezav/gitleaks/v8@v8.30.1 git --config .gitleaks.toml --no-banner --redact --verbose .
	go run github.com/zricethezav/gitleaks/v8@v8.30.1 dir --config .gitleaks.toml --no-banner --redact --verbose .

.PHONY: vuln
vuln: ## known vulnerabilities in what the binary calls; says so where their database cannot be reached
	@status=0; out=$$(go run golang.org/x/vuln/cmd/govulncheck@v1.8.0 ./cmd/anycert 2>&1) || status=$$?; \
	if grep -q '^govulncheck: fetching vulnerabilities' <<<"$$out"; then \
		echo 'vuln: NOT CHECKED: the database https://vuln.go.dev cannot be reached from here'; \
	else \
		echo "$$out"; exit $$status; \
	fi

.PHONY: breaks
breaks: ## break each law on purpose: its test must see it
	go run ./internal/breaks

.PHONY: chaos
chaos: ## kill the daemon a thousand times, before and after each call and at random; SEED=N throws the same dice
	go run ./internal/chaos -kills 1000 $(if $(SEED),-seed $(SEED))

.PHONY: bench
bench: ## requests, CPU and memory of unchanged passes; ratios and counts
	go run ./internal/bench

.PHONY: docs
docs: ## write the generated pages anew
	go generate ./...

.PHONY: live
live: ## the sinks' suites against real accounts; see docs/sinks
	go test -tags live -run TestLive -count=1 -v ./sinks/fastly ./sinks/fly
