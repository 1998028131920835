# Every task of the project; `make help` lists them. Nothing here needs an activated environment.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SECONDS ?= 60
WORKERS ?= 3
PART ?=
ARGS ?=
HERE := $(CURDIR)
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Without bytecode each process of the tests would compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE
ifndef BESIDE
.NOTPARALLEL:
endif

# An environment knows the folder that it was made in; one that came along in a copy is made anew.
ifneq ($(wildcard $(VENV)/.home),)
ifneq ($(shell cat $(VENV)/.home),$(HERE))
MOVED := moved
endif
endif

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Environment -------------------------------------------------------------------------------

# `.partial` stands while an installation runs. Whoever finds it starts from an empty environment,
# so that an interrupted set-up repairs itself.
$(VENV)/.stamp-%: requirements/%.txt pyproject.toml $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "trimtab needs Python 3.11 to 3.13; say which with: make PYTHON=python3.12" >&2; exit 2; }
	@if [ -n "$(MOVED)" ] || [ -e $(VENV)/.partial ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@printf '%s' '$(HERE)' > $(VENV)/.home
	@touch $(VENV)/.partial
	@echo "installing requirements/$*.txt"
	@$(PY) -m pip install --quiet --require-hashes -r $<
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@rm $(VENV)/.partial
	@touch $@

.PHONY: moved
moved: ;

.PHONY: setup
setup: $(VENV)/.stamp-dev ## Set up .venv with everything that development needs

# --- Use ---------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.stamp-local ## Show the whole loop on this machine (ARGS=... are passed on)
	@$(VENV)/bin/trimtab demo $(ARGS)

# --- Checks ------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.stamp-dev ## Everything that must hold before a change lands (WORKERS=2 for fewer)
	@$(MAKE) --no-print-directory -j 2 BESIDE=1 formatted lint types layers suite

# The types are checked beside the first tests.
.PHONY: suite
suite: $(VENV)/.stamp-dev
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal tests $(ARGS)

.PHONY: check
check: $(VENV)/.stamp-dev ## The quick part of it, under a minute: unit tests that are not marked slow
	@$(MAKE) --no-print-directory -j 2 BESIDE=1 formatted lint types layers quick

.PHONY: quick
quick: $(VENV)/.stamp-dev
	@HYPOTHESIS_PROFILE=quick $(PY) -m pytest -q -n 2 --dist worksteal -m "not slow" tests/unit $(ARGS)

.PHONY: formatted
formatted: $(VENV)/.stamp-dev
	@$(PY) -m ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Lint
	@$(PY) -m ruff check --quiet .

.PHONY: types
types: $(VENV)/.stamp-dev ## Check the types
	@$(PY) -m mypy

.PHONY: layers
layers: $(VENV)/.stamp-dev ## Check which layer imports which
	@$(VENV)/bin/lint-imports --no-logo --cache-dir $(VENV)/.import-linter

.PHONY: conformance
conformance: $(VENV)/.stamp-dev ## Tests with other projects' unmodified clients (PART="oip mlflow" for some)
	@$(PY) tests/conformance/run.py $(PART) -- $(ARGS)

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Measure what the documentation states (PART="serving monitoring" for some)
	@for file in $(if $(PART),$(wildcard $(foreach part,$(PART),benchmarks/$(part).py benchmarks/$(part)/run.py)),\
		$(wildcard benchmarks/*.py benchmarks/*/run.py)); do \
		echo "== $$file"; $(PY) "$$file" $(ARGS); done

.PHONY: fuzz
fuzz: $(VENV)/.stamp-dev ## Mangled HTTP to both shells, then property tests with fresh seeds, for SECONDS=60
	@$(PY) tests/fuzz/shells.py --seconds $$(( $(SECONDS) / 2 ))
	@end=$$(( $$(date +%s) + $(SECONDS) / 2 )); round=0; \
	while [ "$$(date +%s)" -lt "$$end" ]; do \
		round=$$(( round + 1 )); echo "== round $$round"; \
		HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest -q -x -n 2 \
			-m hypothesis --hypothesis-seed=random tests/unit $(ARGS); \
	done

# --- Upkeep ------------------------------------------------------------------------------------

.PHONY: format
format: $(VENV)/.stamp-dev ## Format the code and mend what the linter can
	@$(PY) -m ruff check --fix --exit-zero --quiet .
	@$(PY) -m ruff format .

COMPILE = build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) pyproject.toml

.PHONY: lock
lock: build/uv/bin/uv ## Write requirements/*.txt anew (UPGRADE=1 takes newer versions)
	$(COMPILE) --extra local --group build --output-file requirements/local.txt
	$(COMPILE) --extra local --extra arrow --extra build --extra jwt --group dev --constraint requirements/local.txt \
		--output-file requirements/dev.txt

.PHONY: lock-conformance
lock-conformance: build/uv/bin/uv ## The same for the environments of the clients (PART=... for one)
	@for part in $(or $(PART),$(basename $(notdir $(wildcard requirements/conformance-*.in)))); do \
		part=$${part#conformance-}; echo "locking requirements/conformance-$$part.txt"; \
		build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --custom-compile-command "make lock-conformance" \
			$(if $(UPGRADE),--upgrade) requirements/conformance-$$part.in \
			--output-file requirements/conformance-$$part.txt; \
	done

.PHONY: lock-bench
lock-bench: build/uv/bin/uv ## The same for the peers of the monitoring benchmark (PART=... for one)
	@for part in $(or $(PART),$(basename $(notdir $(wildcard requirements/bench-monitoring-*.in)))); do \
		part=$${part#bench-monitoring-}; echo "locking requirements/bench-monitoring-$$part.txt"; \
		build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --custom-compile-command "make lock-bench" \
			$(if $(UPGRADE),--upgrade) requirements/bench-monitoring-$$part.in \
			--output-file requirements/bench-monitoring-$$part.txt; \
	done

build/uv/bin/uv:
	@$(PYTHON) -m venv --clear build/uv
	@build/uv/bin/python -m pip install --quiet uv

.PHONY: clean
clean: ## Remove everything that is made: environment, caches, builds
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
