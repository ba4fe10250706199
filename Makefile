# Everything a developer or CI does, one target each; `make` lists them.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PG     ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9_-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The tools are installed anew only when the project says it needs other ones.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[all]' --group dev
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## make the virtual environment with everything in it

.PHONY: up
up: setup ## start the embedded PostgreSQL, migrate it, and say how to connect
	@$(BIN)/enterprise-ai server start
	@env -u DATABASE_URL -u PGHOST -u PGSERVICE $(BIN)/enterprise-ai migrate
	@env -u DATABASE_URL -u PGHOST -u PGSERVICE $(BIN)/enterprise-ai status
	@echo
	@echo "Connect:  $(BIN)/enterprise-ai server psql"
	@echo "URL:      $$($(BIN)/enterprise-ai server url)"
	@echo "Stop:     $(BIN)/enterprise-ai server stop"

.PHONY: down
down: setup ## stop the embedded PostgreSQL; its data stays
	@$(BIN)/enterprise-ai server stop

.PHONY: test
test: setup ## run the tests on the PostgreSQL that this machine has (PG=12 … 18: on that one)
	$(BIN)/pytest -n 2 $(if $(PG),--pg $(PG)) $(ARGS)

.PHONY: test-pairs
test-pairs: setup ## run the tests on PostgreSQL 12 to 18 and the engine on Python 3.8 to 3.13, by chosen pairs
	$(BIN)/python tools/test_pairs.py

.PHONY: lint
lint: setup ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: setup ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: sync
sync: ## copy sql/ into the migrations that include it
	$(PYTHON) tools/sync_sql.py

.PHONY: docs
docs: setup ## write the generated reference pages anew
	$(BIN)/python tools/docs.py

.PHONY: check
check: lint ## everything CI checks besides the tests: lint, sources in step, docs in step
	$(PYTHON) tools/sync_sql.py --check
	$(BIN)/python tools/docs.py --check

.PHONY: wheel
wheel: setup ## build the wheel and run its migrations from a fresh environment
	$(BIN)/python tools/test_wheel.py

.PHONY: freeze
freeze: ## at a release: record the migrations that must never change again
	cd migrations && sha256sum [0-9]*.sql > frozen.txt
