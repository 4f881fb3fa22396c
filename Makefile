# The only entry points of this project: people, CI and the GitHub workflow call the same targets.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# `release` is what users run; tests use `dev`, so that everything is compiled once.
PROFILE ?= release
PROFILE_DIR = $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
KEA = target/$(PROFILE_DIR)/kea
VENV := .cache/venv
TOOLS := .cache/tools
PY := $(VENV)/bin/python
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)

# The binary that is tested. Naming a test has features resolved as for all tests: otherwise, without those that tests alone
# ask of libraries, tokio and the forty crates upon it would be compiled a second time.
BUILD_TESTED = cargo build --locked --workspace --bin kea --test corpus

.PHONY: help build run test check format-check lint doc deny unit worker e2e endurance cluster browser image generate bench bench-gateways clean tools

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## Builds the binary
	cargo build --locked --profile $(PROFILE) --bin kea

run: build tools ## Starts KEA, trains and deploys a real model, and shows what to call; ends with Ctrl-C
	scripts/run $(KEA)

test: format-check deny unit e2e ## Everything: format, lints, documentation, licences, unit, worker, end-to-end, browser and cluster tests
	$(MAKE) cluster BESIDE='$(MAKE) worker lint doc'

check: format-check lint doc deny ## What needs no running parts

format-check:
	cargo fmt --all --check
	$(MAKE) $(VENV)/made
	$(VENV)/bin/ruff format --check crates/server/python tests bench
	$(VENV)/bin/ruff check crates/server/python tests bench

lint:
	cargo clippy --locked --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

deny: tools
	cargo-deny --locked check licenses bans sources

unit: ## Tests of the crates, beside a PostgreSQL of their own
	scripts/apt-install redis-server
	scripts/with-postgres cargo nextest run --locked --workspace $(NEXTEST_ARGS)

worker: $(VENV)/made ## Tests of the Python worker, with each framework
	scripts/test-worker

e2e: $(VENV)/made ## Tests of the real binary with real models, clients and a browser
	scripts/apt-install apache2-utils buildah chromium chromium-driver curl docker-registry git-lfs golang-go openssh-server redis-server runc skopeo umoci
	scripts/azurite .cache/azurite
	scripts/helm .cache/helm
	scripts/oidc-provider .cache/oidc-provider
	$(BUILD_TESTED)
	KEA_BIN=$(CURDIR)/target/debug/kea $(PY) -m pytest -n 2 --dist loadfile tests/e2e $(PYTEST_ARGS)

endurance: $(VENV)/made ## Ten minutes of load in which replicas are killed, hang and lie (SECONDS=600)
	$(BUILD_TESTED)
	KEA_ENDURANCE_SECONDS=$(or $(SECONDS),600) KEA_BIN=$(CURDIR)/target/debug/kea $(PY) -m pytest -s tests/e2e/test_endurance.py

# A cluster waits more than it computes: BESIDE is a command that uses the time.
cluster: $(VENV)/made ## Tests of operator and routers in the Kubernetes that KUBECONFIG or KEA_CLUSTER gives; see scripts/with-cluster
	scripts/apt-install binutils docker-registry git skopeo
	$(BUILD_TESTED)
	export KEA_BIN=$(CURDIR)/target/debug/kea
	$(if $(BESIDE),scripts/beside '$(BESIDE)') scripts/with-cluster --first tests/cluster/prepare $(PY) -m pytest tests/cluster $(PYTEST_ARGS)

image: ## Makes KEA's own image and pushes it: make image IMAGE=registry.example/kea:1 [BASE=…]
	@[ -n "$(IMAGE)" ] || { echo "make image: say where it goes, as IMAGE=registry.example/kea:1" >&2; exit 2; }
	$(MAKE) build
	$(KEA) build --self --image $(IMAGE) --push $(if $(BASE),--base $(BASE))

generate: ## Writes the generated files anew
	UPDATE=1 cargo nextest run --workspace -E 'test(fresh)'

bench: ## Measures KEA beside others; see bench/README.md
	$(MAKE) build PROFILE=release
	bench/setup
	python3 bench/run.py $(BENCH_ARGS)

bench-gateways: ## Measures KEA's gateway beside nginx, HAProxy and Envoy
	$(MAKE) build PROFILE=release
	bench/setup envoy
	python3 bench/gateways.py $(BENCH_ARGS)

tools: ## Installs the tools that the targets need into .cache
	scripts/tools $(TOOLS)

$(VENV)/made: tests/requirements.txt scripts/tools
	$(MAKE) tools
	uv venv --quiet --allow-existing $(VENV)
	uv pip install --quiet --python $(PY) -r tests/requirements.txt
	touch $@

clean: ## Removes what was built and installed here
	cargo clean
	rm -rf .cache kea-data
