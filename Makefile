# Everything sets itself up: `make demo` and `make test` work on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
STORM ?= 2000
FUZZ ?= 600

.PHONY: help demo test test-fast lint format bench performance storm simulate prove pythons charts pins clean

help: ## Say what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/runs ## A server and two nodes on this machine: relay first, direct once proved, cut and healed
	$(BIN)/p2ptunnel-trio demo

test: .venv/ready ## All tests; as root on Debian also those on real NATs in namespaces
	PYTHON=$(BIN)/python tools/run-tests $(TESTS)

test-fast: .venv/ready ## The tests that need neither root nor minutes
	$(BIN)/python -m pytest -q -m "not netlab" $(TESTS)

lint: .venv/ready ## Format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready ## Bring the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready ## Measure
	@command -v iperf3 >/dev/null || tools/system-packages iperf3 || true
	@for script in bench/[a-z]*.py; do [ -e "$$script" ] || continue; echo "== $$script"; $(BIN)/python "$$script"; done

performance: .venv/ready ## As root: how fast we and other tunnels are, five rounds (docs/performance.md)
	$(BIN)/python -m bench.performance

simulate: .venv/ready ## All scenarios, each with twenty seeds
	$(BIN)/p2ptunnel-trio simulate --seeds 0..19

storm: .venv/ready ## For the night: random scenarios with fresh seeds (STORM=how many); says how to rerun each that broke
	@first=$$(date +%s)0000; last=$$((first + $(STORM) - 1)); echo "seeds $$first..$$last"; \
		$(BIN)/p2ptunnel-trio simulate --storm $$first..$$last --keep storm-failures

prove: .venv/ready ## Explore every state that two nodes and a server can be in, and break the charts to see it fail
	$(BIN)/p2ptunnel-trio prove

fuzz: .venv/fuzz/ready ## Hostile bytes into the data plane for ten minutes (FUZZ=seconds), led by coverage; keeps new seeds
	$(BIN)/python tools/fuzz-dataplane.py $(FUZZ)

pythons: .venv/ready ## A .venv-3.N for each newer Python here; the tests then compare runs on all of them
	tools/every-python

charts: .venv/ready ## Write the generated pages of statecharts/ anew
	$(BIN)/python -m tunnel.machines.diagrams

pins: .venv/ready ## Renew the exact versions in constraints/
	uv="$(BIN)/uv" tools/make-pins

clean: ## Remove what was made here
	rm -rf .venv .venv-* storm-failures dist build .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/runs: constraints/run.txt constraints/build.txt constraints/upnp.txt pyproject.toml tools/make-venv
	@echo "setting up .venv, about half a minute"
	@PYTHON="$(PYTHON)" tools/make-venv .venv constraints/run.txt constraints/build.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/ready: .venv/runs constraints/dev.txt
	@echo "adding what tests need to .venv, about half a minute"
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement constraints/dev.txt
	@touch $@

.venv/fuzz/ready: .venv/ready constraints/fuzz.txt
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --target .venv/fuzz --requirement constraints/fuzz.txt
	@touch $@
