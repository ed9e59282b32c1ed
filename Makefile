# `make` alone lists the commands. Each does one thing; the longer ones live in scripts beside what they are about.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run setup web build release test check fmt lint bench audit gen docs clean

help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

##@ Use it
run: setup web ## build it, serve a demo board (data in .kanvoy) and print the link to open
	@docker/scripts/run
web: ## build the web board, which the binary takes in (needs Node 20.19)
	@.ci/web
build: web ## a debug build of the one binary: target/debug/kanvoy
	cargo build --locked -p kanvoy
release: web ## an optimised build: target/release/kanvoy
	KANVOY_REQUIRE_WEB=1 cargo build --locked --release -p kanvoy

##@ Work on it
setup: ## install what is missing to build and test (quick when nothing is)
	@.ci/setup
check: ## format, lint, unit tests, house rules: under two minutes on a warm tree
	@.ci/test --quick
test: ## everything: the whole of what continuous integration checks
	@.ci/test
fmt: ## format the code
	cargo fmt --all
lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
bench: ## measure ours against the bare floor, side by side
	cargo bench --locked -p kanvoy --bench '*'
audit: ## known vulnerabilities, licences, sources (needs cargo-deny and github.com)
	cargo deny --all-features check

##@ Keep it true
gen: ## write again what is generated (docs/openapi.json, the import table) and say what changed
	@KANVOY_GEN=1 cargo test --quiet --locked -p kanvoy-api --test openapi
	@GEN=1 cargo test --quiet --locked -p kanvoy --test house
	@git status --short -- docs
docs: ## the documentation of the code, private items too
	cargo doc --workspace --no-deps --all-features --document-private-items --locked
	@echo "open target/doc/kanvoy/index.html"
clean: ## remove what was built (the board's data stays)
	cargo clean
