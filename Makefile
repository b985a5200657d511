# Everything a developer calls. Each target works on a fresh machine with Python >= 3.11: the first
# one makes .venv, later ones remake it only when a lock or a pyproject.toml changed.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Named after this folder, since a virtual environment does not survive being moved.
READY := .venv/.ready$(subst /,-,$(subst $() ,-,$(CURDIR)))
ONCE ?=

# Caches stay in the repository; a HOME is not needed.
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis
# Python comes from the machine, and so do the certificate authorities, as networks with their own
# package index need.
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
export PYTHON
# Compiled modules are kept, whatever a container's environment says: dozens of processes start, and
# each would compile all that it imports again, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check fix bench chaos contracts k8s-validate up down lock setup

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 15

setup: $(READY) ## install what the locks name into .venv (the other targets do it by themselves)

$(READY): bootstrap.lock requirements.lock pyproject.toml checks/setup.sh $(wildcard */pyproject.toml */*/pyproject.toml)
	@echo "setting up .venv"
	@rm -f .venv/.ready*
	@checks/setup.sh
	@touch $@

run: $(READY) ## play the main job on an embedded PostgreSQL and keep serving; ONCE=1 ends with 0 or 1
	@$(BIN)/python -m backbone run $(if $(ONCE),--once)

test: $(READY) ## all checks and tests, on a real RabbitMQ and PostgreSQL that are started for it
	@$(BIN)/python -m checks test

check: $(READY) ## format, lint, types, import rules, contracts, Compose, Dockerfile, Kubernetes
	@$(BIN)/python -m checks check

fix: $(READY) ## format the code and repair what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

bench: $(READY) ## print the figures; ONLY="chain codes" runs some, with ARGS=; CHECK=1: slower than kept?
	@$(BIN)/python -m $(if $(CHECK),benchmarks.chain --check $(ARGS),benchmarks $(ONLY) $(if $(ARGS),-- $(ARGS)))

chaos: $(READY) ## faults under load: SEED=, DOSSIERS=, FAULTS=; FULL=1 in long rounds; MUTANTS=1
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(DOSSIERS),--dossiers $(DOSSIERS)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(FULL),--full) $(if $(MUTANTS),--mutants)

contracts: $(READY) ## regenerate contracts/ from the code
	@$(BIN)/python -m backbone contracts

k8s-validate: $(READY) ## render k8s/ and validate it strictly
	@$(BIN)/python -m checks check kubernetes

up: $(READY) ## start everything in containers (Docker Compose)
	@$(BIN)/python -m backbone secrets
	@$(BIN)/docker-compose up --build --detach --wait

down: $(READY) ## stop the containers; their data stays
	@$(BIN)/docker-compose down

# Without a uv.lock (it spells out addresses, so it is not committed) this takes newest versions.
lock: $(READY) ## resolve the dependencies again and write requirements.lock; UPGRADE=1 for newest
	@$(BIN)/uv lock $(if $(UPGRADE),--upgrade)
	@$(BIN)/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-header \
		--format requirements.txt --output-file requirements.lock
	@$(BIN)/uv export --quiet --no-dev --no-emit-workspace --no-header \
		$(foreach project,$(wildcard services/*),--package lienthong-$(notdir $(project))) \
		--format requirements.txt --output-file requirements.services.lock
