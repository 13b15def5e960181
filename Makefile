# Every target works on a fresh clone; `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
BENCHMARKS := road rebuild realise publish serve web replay dispatch model priority start tensors queues

.DEFAULT_GOAL := help
.PHONY: help quickstart stop test lint bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is written last: an interrupted set-up is done again from the start.
$(READY): requirements/workspace.txt sluice/pyproject.toml channel_server/pyproject.toml scheduler_pkg/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed; run: make PYTHON=/path/to/python3.11")'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements/workspace.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e sluice -e channel_server -e scheduler_pkg
	@touch $@

quickstart: $(READY) ## Build the channel, start the scheduler from it, run and replay real inputs
	@deploy/system-packages.sh
	@$(BIN)/python deploy/quickstart $(ARGS)

stop: ## Stop what quickstart left running
	@if [ -e $(READY) ]; then $(BIN)/python deploy/quickstart --stop; else echo "nothing to stop: no $(VENV)"; fi

test: $(READY) ## Run every test on the real parts (ARGS="-k name" for some)
	@deploy/system-packages.sh
	@deploy/system-packages.sh test
	@$(BIN)/pytest $(ARGS)

lint: $(READY) ## Check style, types and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## Run the benchmarks; tables here, JSON in build/benchmarks/
	@deploy/system-packages.sh
	@deploy/system-packages.sh bench
	@mkdir -p build/benchmarks
	@failed=; for name in $(BENCHMARKS); do \
	  $(BIN)/python benchmarks/$$name.py --json build/benchmarks/$$name.json || failed="$$failed $$name"; \
	done; if [ -n "$$failed" ]; then echo "figures that do not hold:$$failed" >&2; exit 1; fi

clean: stop ## Stop, and remove what was made here (not the user's cache)
	@if [ -e $(READY) ]; then $(BIN)/python deploy/quickstart --clean; fi
	@rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
