# Sluice. `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Go fetches the version that go.mod names, also where a distribution's
# default forbids it.
export GOTOOLCHAIN ?= auto
export CGO_ENABLED := 0
unexport GOOS GOARCH GOARM

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD := go build -trimpath -ldflags '$(LDFLAGS)'
COMMANDS := sluiced sluicectl sluice-fleet
PLATFORMS := linux/amd64 linux/arm64 linux/arm/7 linux/arm/6 linux/386
DIST := dist
# The most bytes that a program may have.
LARGEST := 20000000
# The processors of test-arm, and those of make test; and what runs on them: the
# packages that open sockets, without the tests that judge times or take seconds,
# which an emulator makes minutes of.
ARM := linux/arm64 linux/arm/7 linux/arm/6 linux/386
ARM_SHORT := linux/arm64 linux/arm/7
ARM_TEST := -timeout 10m -short -parallel 4 ./relay ./relay/udp ./relay/dial ./relay/gate ./relay/rtp ./relay/rtmp ./relay/srt \
	./device/uplink ./device/control ./provisioning ./provisioning/mqtt ./provisioning/store ./cmd/sluiced

SCRIPTS := $(wildcard scripts/* .ci/*)
# Packages whose tests start the built programs: once is enough, without the
# race detector.
UNIT = go list ./... | grep -v '^sluice/test/'
STEP := scripts/step
# The long forms of the tests take minutes each.
TIMEOUT := $(if $(SLUICE_TEST_LONG),40m,10m)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: go ## a whole system on this machine: broker, box, test picture, five outputs; Ctrl-C ends it
	@scripts/run

.PHONY: build
build: go ## the three programs, into bin/
	@mkdir -p bin
	@for c in $(COMMANDS); do [ ! -d cmd/$$c ] || $(BUILD) -o bin/$$c ./cmd/$$c; done

.PHONY: test
test: go ## install what the tests need, then check everything and run every test
	@$(STEP) "packages for the tests" scripts/deps $(if $(SLUICE_TEST_LONG),test-full,test)
	@$(STEP) "modules" go mod download
	@$(MAKE) check
	@$(STEP) "whole system" scripts/go-test -count=1 -timeout $(TIMEOUT) $$(go list ./test/... | grep -v /image$$)
	@$(MAKE) boot
	@$(STEP) "32-bit build" $(MAKE) cross PLATFORMS=linux/arm/7
	@$(STEP) "other processors" $(MAKE) test-arm $(if $(SLUICE_TEST_LONG),,ARM='$(ARM_SHORT)')

.PHONY: test-full
test-full: export SLUICE_TEST_LONG := 1
test-full: go ## the same, with the long forms of the tests, all machines and processors, which take minutes more
	@$(MAKE) test

.PHONY: test-arm
test-arm: go ## the tests on other processors: ARM 64, 7 and 6, emulated, and 386
	@scripts/test-arch '$(ARM)' $(ARM_TEST)

.PHONY: image-test
image-test: export SLUICE_IMAGE_TEST = $(or $(ARCH),amd64 arm64 armv7 systemd)
image-test: go ## boot the programs in emulated machines, relay, cut the power; ARCH=amd64, arm64, armv7 or systemd: that one
	@$(STEP) "packages for the machines" scripts/deps image
	@$(STEP) "modules" go mod download
	@$(MAKE) boot TIMEOUT=40m

.PHONY: check
check: go ## format, vet, staticcheck, shellcheck, generated documents, tests with the race detector
	@$(STEP) "build" $(MAKE) build
	@$(STEP) "tools" $(MAKE) tools
	@$(STEP) "format" $(MAKE) format-check
	@$(STEP) "go vet" go vet ./...
	@$(STEP) "staticcheck" bin/tools/staticcheck ./...
	@$(STEP) "shellcheck" shellcheck $(SCRIPTS)
	@$(STEP) "generated documents" scripts/generated
	@$(STEP) "tests with the race detector" $(MAKE) race

.PHONY: format
format: tools ## format the code
	@bin/tools/gofumpt -w .

.PHONY: fuzz
fuzz: go ## fuzz every parser for ten seconds each
	@scripts/fuzz 10s

.PHONY: bench
bench: bench-built ## side by side with what else could be run, in about an hour; writes docs/performance.md
	@$(BENCH) --micro --out docs

.PHONY: bench-quick
bench-quick: bench-built ## the same, a few rows in three minutes; writes to bin/bench-quick/
	@$(BENCH) --quick --out bin/bench-quick

.PHONY: cross
cross: go ## static programs for every platform, tarballs and Debian packages, into dist/, with their sizes
	@for p in $(PLATFORMS); do \
		IFS=/ read -r os arch arm <<<"$$p"; \
		dir=$(DIST)/$$os-$$arch$${arm:+v$$arm}; \
		mkdir -p $$dir; \
		for c in $(COMMANDS); do \
			[ -d cmd/$$c ] || continue; \
			GOOS=$$os GOARCH=$$arch GOARM=$$arm $(BUILD) -buildvcs=false -o $$dir/$$c ./cmd/$$c; \
			size=$$(stat -c %s $$dir/$$c); \
			printf '%-14s %-14s %6.1f MB\n' $${dir##*/} $$c $$(awk "BEGIN {print $$size / 1e6}"); \
			[ $$size -le $(LARGEST) ] || { echo "$$dir/$$c is larger than $(LARGEST) bytes" >&2; exit 1; }; \
		done; \
		scripts/pack $$dir $${dir##*/} $(VERSION); \
	done

.PHONY: reproducible
reproducible: go ## build it all twice, the second time in another folder, and compare
	@DIST='$(DIST)' PLATFORMS='$(PLATFORMS)' COMMANDS='$(COMMANDS)' VERSION='$(VERSION)' scripts/reproducible

.PHONY: buildroot-check
buildroot-check: ## have a Buildroot checkout look at buildroot/: make buildroot-check BUILDROOT=DIR
	@scripts/buildroot-check '$(BUILDROOT)'

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin dist run

# What the targets above share.

.PHONY: go
go: GO_PROBLEM = $(shell scripts/need-go 2>&1)
go:
	@:$(if $(GO_PROBLEM),$(error $(GO_PROBLEM)))

BENCH = bin/sluice-bench --sluiced bin/sluiced --commit '$(VERSION)'

.PHONY: bench-built
bench-built: go
	@scripts/deps bench
	@$(MAKE) build
	@go build -trimpath -o bin/sluice-bench ./bench

.PHONY: tools
tools: go
	@mkdir -p bin/tools
	@go build -C tools -o ../bin/tools/ tool

.PHONY: format-check
format-check:
	@found=$$(bin/tools/gofumpt -l .); \
	[ -z "$$found" ] || { echo "not formatted (make format):"; echo "$$found"; exit 1; }

.PHONY: boot
boot: export SLUICE_IMAGE_TEST ?= $(if $(SLUICE_TEST_LONG),amd64 arm64 armv7 systemd,amd64)
boot:
	@$(STEP) "kernels" scripts/kernels
	@$(STEP) "boot" go test -count=1 -v -timeout $(TIMEOUT) ./test/image

.PHONY: race
race:
	@CGO_ENABLED=1 scripts/go-test -race -count=1 -timeout $(TIMEOUT) $$($(UNIT))
