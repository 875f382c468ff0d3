# make demo: a first look in minutes. make test: everything that is checked. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
CONFIG ?= workflow/config/demo.yaml
SUITE ?= demo
RAW_JPEG := data/raw/cifar10-jpeg.tar.xz
SMALL := workflow/config/cifar10-small.yaml $(if $(wildcard $(RAW_JPEG)),workflow/config/cifar10-jpeg.yaml)
SMALL_SUITE := $(if $(wildcard $(RAW_JPEG)),cifar10-small-jpeg,cifar10-small)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup demo cifar10-small test test-faults lint clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name it with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup
	snakemake --profile workflow/profiles/local --configfile $(CONFIG) --quiet rules
	@structgan show --plan results/runs/$(SUITE)/plan.json --tables results/tables/$(SUITE)
	@echo "Report: $(CURDIR)/results/report/$(SUITE).html"

cifar10-small: setup
	$(MAKE) demo CONFIG="$(SMALL)" SUITE=$(SMALL_SUITE)

lint: setup
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint --configfile workflow/config/demo.yaml

test: lint
	OMP_NUM_THREADS=1 pytest -n 2 --durations 10

test-faults: setup
	OMP_NUM_THREADS=1 pytest -n 2 -m faults --durations 10

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache
