# make demo · make test · make bench — each builds the locked environment first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A study is hundreds of short processes. Where Python may not keep what it has compiled, as in many containers, each
# would compile torch's modules again, which takes longer than the rest of it.
unexport PYTHONDONTWRITEBYTECODE

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off --no-compile
# One more than two cores: the tests on a Slurm often wait for it. In which order: tests/conftest.py.
WORKERS = -n 3 --dist loadfile --no-loadscope-reorder
COMPILE := import dvc.cli, framecast.report.write, snakemake.cli, snakemake_executor_plugin_slurm, skimage.metrics, torch

.PHONY: help demo docs test test-fast test-slow test-slurm bench kill-loop chaos cluster-up cluster-down lint lock clean
.DEFAULT_GOAL := help

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "framecast needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	sed '/^# docs/,$$d' requirements.lock > $(VENV)/all.lock
	grep '^torch==' $(VENV)/all.lock > $(VENV)/torch.lock  # by far the largest: unpacked beside the others
	grep -v '^torch==' $(VENV)/all.lock > $(VENV)/others.lock
	$(INSTALL) --no-deps -r $(VENV)/torch.lock & torch=$$!
	trap 'kill $$torch 2> /dev/null || true' EXIT  # when the others fail
	$(INSTALL) --no-deps -r $(VENV)/others.lock
	wait $$torch
	$(INSTALL) -r $(VENV)/all.lock  # and what torch alone needs on a machine with a GPU
	$(INSTALL) --no-deps --no-build-isolation -e .
	$(BIN)/python -c '$(COMPILE)'  # what is used of them, here and now
	@touch $@

$(VENV)/docs: $(VENV)/installed  # what builds the documentation, which nothing else waits for
	sed '1,/^# docs/d' requirements.lock > $(VENV)/docs.lock
	$(INSTALL) --no-deps -r $(VENV)/docs.lock
	@touch $@

demo: $(VENV)/installed  ## a few cells of every study, from nothing to reports/report.html (some 9 minutes on 2 cores)
	@snakemake
	@echo "The report: $(CURDIR)/reports/report.html"

docs: $(VENV)/docs  ## the documentation as a site, site/index.html; every warning is an error
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "The documentation: $(CURDIR)/site/index.html"

test: $(VENV)/docs  ## everything that is claimed (some 10 minutes on 2 cores)
	@pytest $(WORKERS)

test-fast: $(VENV)/docs  ## without the slow tests
	@pytest $(WORKERS) -m "not slow"

test-slow: $(VENV)/docs  ## only the slow tests: real engines, kills, training
	@pytest $(WORKERS) -m slow

test-slurm: $(VENV)/installed  ## only the tests on a private one-machine Slurm
	@pytest -m slurm

bench: $(VENV)/installed  ## measure speed and memory against references in the same run
	@python -m benchmarks

kill-loop: $(VENV)/installed  ## kill training at random for MINUTES (default 10) and compare the weights each time
	@python -m tests.kill_loop $(or $(MINUTES),10)

chaos: $(VENV)/installed  ## a grid on a private Slurm under random kills for MINUTES (default 20), hashes compared
	@python -m tests.chaos $(or $(MINUTES),20)

cluster-up: $(VENV)/installed  ## a private one-machine Slurm in CLUSTER (default /tmp/framecast-slurm), to try things on
	@python tests/slurm/one_node.py up $(or $(CLUSTER),/tmp/framecast-slurm) > /dev/null
	@echo 'eval "$$(python tests/slurm/one_node.py env $(or $(CLUSTER),/tmp/framecast-slurm))"'

cluster-down: $(VENV)/installed  ## stop it
	@python tests/slurm/one_node.py down $(or $(CLUSTER),/tmp/framecast-slurm) --purge

lint: $(VENV)/installed  ## style of Python and rules, types, spelling
	@ruff check . && ruff format --check . && snakefmt --check Snakefile workflow && snakemake --lint && mypy && codespell

lock:  ## resolve pyproject.toml anew into requirements.lock
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	freeze() { .venv-lock/bin/python -m pip freeze --all --exclude-editable --exclude pip; }
	.venv-lock/bin/python -m pip install --quiet -e '.[dev]'
	freeze > .venv-lock/all
	.venv-lock/bin/python -m pip install --quiet -c .venv-lock/all -e '.[dev,docs]'
	{ echo "# Resolved by 'make lock' from pyproject.toml; every install uses these versions."; \
	  sed 's/+cpu$$//' .venv-lock/all; \
	  echo "# docs: what 'make docs' and 'make test' install besides."; \
	  freeze | grep -vxFf .venv-lock/all; } > requirements.lock
	rm -rf .venv-lock

clean:  ## remove what can be made again, except the environment and raw data
	rm -rf site data/processed data/runs data/scores data/checkpoints reports/figures reports/report.html .snakemake logs
