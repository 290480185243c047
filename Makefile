# The goals of the project; `make` lists them. What there is to do for a report, and in which order, Python says.

STUDY ?= phantom## the study: a folder of params/
ARCHIVE ?=## a zip or folder of radiographs, for studies of real ones
WEIGHTS ?=## a folder of weight files (safetensors)
RUNS ?=## the runs to make, without it all that need no download
ONLINE ?=## 1: also the runs whose weights have to be downloaded
TRAIN ?=## 1: train again what a committed report on real radiographs has results of, but no model here
SWEEP ?= params/sweeps/phantom-rates.yaml## the sweep to make
SCHEDULER ?=## tcp://...: the workers of this dask scheduler make it, not this machine
BENCH ?= report training## the benchmarks to run, of benchmarks/
JOBS ?= 2## steps executed side by side, and runs of a sweep
MODEL ?= models/kermany-mobilenetv2-full## what the app serves: a folder, or an id of the hub
PYTHON ?= python3## the Python (3.11 or later) that makes the environment
export ARCHIVE WEIGHTS ONLINE TRAIN JOBS SCHEDULER

# glibc gives the memory of every training step back to the system and asks for it again at the next
# one; kept instead, a step on a CPU takes less time.
export MALLOC_TRIM_THRESHOLD_ ?= 8589934592
export MALLOC_MMAP_THRESHOLD_ ?= 8589934592
# Two steps side by side, each with half of the processor's cores, do more than one after the other with
# all: most of a step's time is one thread's. More threads than cores would be very slow.
CORES := $(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS ?= $(shell n=$$(($(CORES) / $(JOBS))); echo $$((n > 1 ? n : 1)))

# `BIN=$CONDA_PREFIX/bin` uses an environment of your own instead of the one made here.
ifeq ($(origin BIN),undefined)
BIN := .venv/bin
ENVIRONMENT := .venv/.installed
endif
xnn = $(BIN)/python -m xnn
# all that decides a page or the site; a folder's time changes with the files in it
SOURCES := $(filter-out notebooks,$(shell find xnn notebooks methods pages params reports *.qmd *.yml models -name __pycache__ -prune -o -not -name '.*' -print 2> /dev/null))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help report status site app fiftyone sweep verify mlflow bench test lint format lab lock notebooks clean always

help: ## list the goals
	@echo "usage: make GOAL [VARIABLE=value]"; echo
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 14
	@echo; sed -nE 's/^([A-Z]+) \?= ?([^#]*)## (.*)/  \1\t\3 (\2)/p' Makefile | sed 's/ ()//' | expand -t 14

report: _site/.$(STUDY) ## make the report of STUDY, and the site in _site/

# one process looks at every page of the study, and executes what is stale; named runs and new sources: always
_site/.$(STUDY): $(SOURCES) $(if $(RUNS)$(ONLINE)$(ARCHIVE)$(WEIGHTS)$(TRAIN),always) | $(ENVIRONMENT)
	@$(xnn) report $(STUDY) $(RUNS)
	@touch $@

# one page by its name, with what it follows
$(filter reports/%.ipynb,$(MAKECMDGOALS)): always | $(ENVIRONMENT)
	@$(xnn) page $@

status: | $(ENVIRONMENT) ## say which pages of STUDY are current, and what the others would take
	@$(xnn) status $(STUDY) $(RUNS)

site: | $(ENVIRONMENT) ## render the site from the reports that there are
	@$(xnn) site

verify: | $(ENVIRONMENT) ## make the numbers of STUDY's report again, and compare
	@$(xnn) verify $(STUDY)

sweep: | $(ENVIRONMENT) ## make the runs of SWEEP, their summary and the site
	@$(xnn) sweep $(SWEEP)
	@$(xnn) site

mlflow: | $(ENVIRONMENT) ## open the runs of every report in MLflow, on port 5000
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db --port 5000

fiftyone: | $(ENVIRONMENT) ## open the radiographs of STUDY in FiftyOne, on port 5151
	@$(xnn) fiftyone $(STUDY)

# the report's memory settings would keep what every request has used
app: | $(ENVIRONMENT) ## start the app on this machine: page on port 8501, API on 8000
	@env -u MALLOC_TRIM_THRESHOLD_ -u MALLOC_MMAP_THRESHOLD_ XNN_MODEL="$(MODEL)" OMP_NUM_THREADS=$(CORES) $(BIN)/python -m xnn.app

bench: | $(ENVIRONMENT) ## measure on this machine what benchmarks/ holds; `make bench BENCH=training` one of them
	@for name in $(BENCH); do $(BIN)/python benchmarks/$$name.py || exit; done

# ---- the environment -----------------------------------------------------------------------------

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "xnn needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "installing the packages of requirements.lock into .venv ..."
	@mkdir -p .uv && awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements.lock > .uv/uv.lock
	@test -x .uv/bin/python || $(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --require-hashes -r .uv/uv.lock
	@test -x $(BIN)/python || .uv/bin/uv venv --quiet --python "$$(command -v $(PYTHON))" .venv
	@.uv/bin/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	@.uv/bin/uv pip install --quiet --no-deps --no-build-isolation --offline --python $(BIN)/python -e .
	@touch $@

lock: ## resolve pyproject.toml anew into requirements.lock, with hashes
	@.uv/bin/uv pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --output-file requirements.lock

# ---- working on it -------------------------------------------------------------------------------

test: | $(ENVIRONMENT) ## run the tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: | $(ENVIRONMENT) ## check style, format, spelling, secrets, and that the notebooks equal their text
	@$(BIN)/pre-commit run --all-files

format: notebooks ## format the code, and write the notebooks anew from their text
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format --quiet

notebooks: | $(ENVIRONMENT)
	@$(BIN)/jupytext --quiet --sync notebooks/*.py methods/*.py

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.news_url=None notebooks

clean: ## remove the study's report and artifacts, and the site
	@rm -rf artifacts/$(STUDY) _site $(if $(filter phantom%,$(STUDY)),reports/$(STUDY))
