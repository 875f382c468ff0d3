# make demo               the demo: minutes, offline
# make cifar10-small      the same on CIFAR-10: hours
# make test               linters, types and the tests that need minutes and no cluster
# make test-slow          what takes long and seldom breaks, such as whole runs, real DVC and git
# make test-faults        the slowest: every method's whole contract, trainings killed and files damaged at many points
# make test-slurm         on a one-node Slurm that root starts here for the length of the tests
# make test-slurm-limits  the same, waiting for time limits to run out
# make docs               the pages of docs/ as a site, site/index.html
# Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
CONFIG ?= workflow/config/demo.yaml
SUITE ?= demo
RAW_JPEG := data/raw/cifar10-jpeg.tar.xz
SMALL := workflow/config/cifar10-small.yaml $(if $(wildcard $(RAW_JPEG)),workflow/config/cifar10-jpeg.yaml)
SMALL_SUITE := $(if $(wildcard $(RAW_JPEG)),cifar10-small-jpeg,cifar10-small)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup demo cifar10-small test test-slow test-faults test-slurm test-slurm-limits docs lint clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name it with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup
	@structgan configure --configfile $(CONFIG)  # one line for a mistake that Snakemake would not explain
	structgan watch snakemake --profile workflow/profiles/local --configfile $(CONFIG) --quiet host reason
	@structgan show $(SUITE)
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
	OMP_NUM_THREADS=1 pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 10

test-slow: setup
	OMP_NUM_THREADS=1 pytest -n 3 --dist loadfile -m 'slow and not faults' --durations 10

test-faults: setup
	OMP_NUM_THREADS=1 pytest -n 2 -m faults --durations 10

test-slurm: setup
	tests/slurm/install
	OMP_NUM_THREADS=1 pytest -m 'slurm and not limits' --durations 5 tests/slurm

test-slurm-limits: setup
	tests/slurm/install
	OMP_NUM_THREADS=1 pytest -m limits --durations 5 tests/slurm

docs: setup
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache
