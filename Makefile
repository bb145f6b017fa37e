# `make help` lists what there is. Every target makes the environment it needs.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINE ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
CLEANLY = $(BIN)/pip --python build/clean install --quiet --disable-pip-version-check --constraint constraints.txt
REPLAYS := tests/integration/test_replay.py
export SECONDS FOREVER

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.14 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info < (3, 15) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: help
help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.PHONY: demo
demo: $(VENV)/.ready ## Stream a purchase-to-pay process through embedded parts (SECONDS=20, FOREVER=1)
	@$(BIN)/kafka-celonis demo $(if $(FOREVER),--forever,--seconds $(or $(SECONDS),20))

.PHONY: test
test: $(VENV)/.ready ## The whole suite; with Java and Maven also on a real Apache Kafka
	$(BIN)/coverage erase
	$(BIN)/python -m tests.together tests/unit tests/contract tests/chart tests/image tests/property \
	  -- $(wildcard tests/integration/test_[a-k]*.py) \
	  -- $(filter-out $(REPLAYS),$(wildcard tests/integration/test_[l-z]*.py)) -- tests/rolling -- tests/chaos $(REPLAYS)
	$(BIN)/coverage report
	$(BIN)/python -m pytest tests/hours # alone: it counts what is done in an hour that takes a minute

.PHONY: sim
sim: $(VENV)/.ready ## Seeded schedules of faults against the real pipeline (N=20000; SEED= shows one)
	$(BIN)/python -m tests.property.simulation.run --seeds $(or $(N),20000) $(if $(SEED),--seed $(SEED))

.PHONY: chaos
chaos: $(VENV)/.ready ## Two million messages while everything breaks, then compare (MINUTES=10, SEED=, PROTOCOL=consumer)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(PROTOCOL),--protocol $(PROTOCOL))

.PHONY: rolling
rolling: $(VENV)/.ready ## Pods of the chart as processes, 1 → 3 → 1 and restarted each way under traffic (ROUNDS=5)
	$(BIN)/python -m tests.rolling --rounds $(or $(ROUNDS),5)

.PHONY: hours
hours: $(VENV)/.ready ## Hours of the team's budget, a minute each, on a real broker (HOURS=6, FOREIGN=3: others push from then on)
	$(BIN)/python -m tests.hours --hours $(or $(HOURS),6) $(if $(FOREIGN),--foreign $(FOREIGN))

.PHONY: replays
replays: $(VENV)/.ready ## Replays of ten million messages under live traffic, each way, killed and resumed (MESSAGES=)
	$(BIN)/python -m tests.replays --messages $(or $(MESSAGES),10000000)

.PHONY: check
check: $(VENV)/.ready ## Lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.ready ## Speed and memory as ratios; also writes benchmarks/latest.json
	$(BIN)/python -m benchmarks.run

.PHONY: picture
picture: $(VENV)/.ready ## Who is pushed next, and how long records wait; draws benchmarks/freshness.svg
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.freshness --picture

.PHONY: chart
chart: $(VENV)/.ready ## What of the Helm chart is made: README, schema of the configuration, dashboard, snapshot, version
	$(BIN)/python -m helm.generate
	$(BIN)/python -m tests.chart

.PHONY: image
image: ## The image, as kafka-celonis-connector with its version (ENGINE=docker, BASE=python:3.13-slim, FLAGS=)
	$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format docker) --file docker/Dockerfile --tag kafka-celonis-connector:$(VERSION) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) $(if $(BASE),--build-arg BASE=$(BASE)) \
	    $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) $(FLAGS) .

.PHONY: dist
dist: $(VENV)/.ready ## In dist: wheel, source distribution, both installed once in a clean environment, its SBOM, the chart
	rm -rf dist build
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build
	$(PYTHON) -m venv --without-pip build/clean
	$(CLEANLY) "$$(echo dist/*.whl)[emulator]"
	build/clean/bin/kafka-celonis --version
	$(CLEANLY) --force-reinstall --no-deps dist/*.tar.gz
	build/clean/bin/kafka-celonis --version
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file dist/kafka-celonis-connector-$(VERSION).cdx.json build/clean/bin/python
	tar --create --gzip --exclude ci --directory helm --file dist/celonis-connector-$(VERSION).tgz celonis-connector
	rm -rf build

.PHONY: release
release: $(VENV)/.ready ## What belongs to a version, from a commit with its tag: all of `dist`, and the image
	@git tag --points-at HEAD | grep -qx 'v$(VERSION)' || { \
	  echo "this commit needs the tag v$(VERSION), by the version in pyproject.toml" >&2; exit 2; }
	@git diff --quiet HEAD || { echo "there are changes that the tag does not have" >&2; exit 2; }
	$(MAKE) dist image

.PHONY: clean
clean: ## Remove what the targets made
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
