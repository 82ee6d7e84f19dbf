# Milepost. `make` lists the targets; each makes its own virtual environment first.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := contracts services/runtime services/models services/backtester services/trainer services/orchestrator infra services/cli
STAMP := $(VENV)/.installed
# What is run here is edited here: without byte code each of some hundred processes would compile it anew.
unexport PYTHONDONTWRITEBYTECODE
BENCH_STAMP := $(VENV)/.installed-bench
# The tests wait more than they compute: three at a time on two cores, each with servers of its own.
PYTEST_ARGUMENTS ?= -n 3 --dist worksteal

EXAMPLE := examples/other-services/typescript

.PHONY: browser examples help install demo up down test test-unit faults check lint types arch schemas bench compare docs pins format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): constraints.txt requirements-dev.txt $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Milepost needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV) (a minute or two, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables \
		setuptools wheel  # the last two for a dependency of the tests that comes as source
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-r requirements-dev.txt $(addprefix -e ./,$(DISTRIBUTIONS))
	@$(BIN)/python -m milepost_backtester.statistics.preparation & \
		$(BIN)/python -m milepost_backtester.strategies.preparation && wait $$!
	@touch $(STAMP)

install: $(STAMP) browser examples ## Make the virtual environment and install everything

demo: $(STAMP) ## Backtest, cancel, resume on another worker, compare: the main job in a minute
	@$(BIN)/milepost demo

up: $(STAMP) ## Start the embedded stack, the orchestrator and two workers
	@$(BIN)/milepost up --detach

down: $(STAMP) ## Stop what `make up` started
	@$(BIN)/milepost down

# The pages are tested in Debian's Chromium: installed where we may, named where we may not; the tests fail without.
browser:
	@command -v chromium chromium-browser google-chrome > /dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes chromium > /dev/null; \
		else echo "The tests of the dashboard need Chromium: sudo apt-get install chromium"; fi

test: $(STAMP) browser examples ## Run all tests on real servers
	@$(BIN)/python -m pytest -m "not long" $(PYTEST_ARGUMENTS)

# The example for services in TypeScript is run by the tests, in Debian's Node.js 18 or newer; they fail without.
examples: $(EXAMPLE)/dist/commands.js ## Build what the tests run of examples/

$(EXAMPLE)/dist/commands.js: $(EXAMPLE)/commands.ts $(EXAMPLE)/package.json $(EXAMPLE)/tsconfig.json
	@command -v npm > /dev/null && command -v jq > /dev/null && command -v curl > /dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes npm jq curl > /dev/null; \
		else echo "The tests of the examples need npm, jq and curl: sudo apt-get install npm jq curl"; fi
	@if command -v npm > /dev/null; then cd $(EXAMPLE) && npm install --no-package-lock --silent && npm run --silent build; fi

test-unit: $(STAMP) ## Run only the tests that need no server
	@$(BIN)/python -m pytest -m unit $(PYTEST_ARGUMENTS)

faults: $(STAMP) ## Run the fault tests many more times than `make test` does, and those that it leaves out
	@MILEPOST_FAULT_ROUNDS=25 MILEPOST_TRAINING_FAULT_POINTS=200 MILEPOST_BACKTEST_FAULT_POINTS=100 $(BIN)/python -m pytest -m "faults or long" $(PYTEST_ARGUMENTS)

# pyright keeps one core busy for most of a minute; what else needs no server runs on the other.
check: $(STAMP) ## Everything that decides whether a change lands
	@$(MAKE) --no-print-directory -j 2 lint types arch schemas
	@$(MAKE) --no-print-directory test

lint: $(STAMP) ## Style and common mistakes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(STAMP) ## pyright, strict
	@$(BIN)/pyright

arch: $(STAMP) ## Floors between the distributions
	@$(BIN)/lint-imports

schemas: $(STAMP) ## The committed schemas are what the code says
	@$(BIN)/python -m milepost_contracts.schema_export --check
	@$(BIN)/python -m milepost_contracts.schema_compatibility
	@$(BIN)/python -m milepost_orchestrator.entrypoints.asyncapi --check

$(BENCH_STAMP): $(STAMP) requirements-bench.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-bench.txt
	@touch $(BENCH_STAMP)

bench: $(BENCH_STAMP) ## Print the figures (never a test: machines are noisy)
	@$(BIN)/python -m tests.benchmarks.run

compare: $(STAMP) .venv-compare/.installed .venv-compare-nautilus/.installed ## Run the peers on the same bars (in an environment of their own) and compare
	@$(BIN)/python -m tests.comparison.compare

.venv-compare-nautilus/.installed: tests/comparison/requirements-nautilus.txt
	@test -x .venv-compare-nautilus/bin/python || $(PYTHON) -m venv .venv-compare-nautilus
	@.venv-compare-nautilus/bin/python -m pip install --quiet --disable-pip-version-check -r $< || \
		{ echo "nautilus_trader does not install here; it is left out"; rm -rf .venv-compare-nautilus/bin; }
	@touch $@

.venv-compare/.installed: tests/comparison/requirements.txt
	@echo "Installing the peers into .venv-compare (a minute or two, once)"
	@test -x .venv-compare/bin/python || $(PYTHON) -m venv .venv-compare
	@.venv-compare/bin/python -m pip install --quiet --disable-pip-version-check -r tests/comparison/requirements.txt
	@touch $@

docs: $(STAMP) ## Check that links and names in the docs exist
	@$(BIN)/python -m pytest -q tests/architecture

pins: $(STAMP) ## Write the installed versions to constraints.txt
	@{ echo "# Versions that were tested together. Regenerate with: make pins"; \
		$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -vixFf requirements-bench.txt | sort -f; } > constraints.txt

format: $(STAMP) ## Format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis
