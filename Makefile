# The project's goals; `make` lists them. Python decides which steps of a report are stale and their order.

STUDY ?= phantom## study: a folder of params/
ARCHIVE ?=## zip or folder of radiographs, for studies of real ones
MASKS ?=## zip or folder of lung masks, named like the radiographs
WEIGHTS ?=## folder of weight files (safetensors)
RUNS ?=## runs to make; by default all that need no download
ONLINE ?=## 1: include runs whose weights are downloaded
TRAIN ?=## 1: retrain runs of a committed report on real radiographs whose models are not here
SWEEP ?= params/sweeps/phantom-rates.yaml## sweep to make
SCHEDULER ?=## tcp://...: make the sweep on the workers of this dask scheduler
BENCH ?= report training## names of benchmarks to run
ONLY ?=## parts that verify recomputes, of scores, predictions and training; by default all
JOBS ?= 2## steps, and runs of a sweep, to execute in parallel
MODEL ?= models/kermany-mobilenetv2-112-robust## model that the app serves: a folder, or a Hugging Face id
LOCK ?= requirements.lock## packages to install; requirements-report.lock is enough for reports and smaller
PYTHON ?= python3## Python (3.11 or later) that creates the environment
export ARCHIVE MASKS WEIGHTS ONLINE TRAIN JOBS SCHEDULER ONLY

# By default glibc returns each training step's memory to the system and requests it again; keeping it makes
# training on a CPU faster.
export MALLOC_TRIM_THRESHOLD_ ?= 8589934592
export MALLOC_MMAP_THRESHOLD_ ?= 8589934592
# Most of a step's time is single-threaded, so two steps in parallel on half of the cores each finish sooner
# than one after the other on all. More threads than cores would be very slow.
CORES := $(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS ?= $(shell n=$$(($(CORES) / $(JOBS))); echo $$((n > 1 ? n : 1)))
# Notebooks run with this seed of hashes, so their kernels can be forks of a process that has it too.
export PYTHONHASHSEED ?= 0

# `BIN=$CONDA_PREFIX/bin` uses your own environment instead of .venv.
ifeq ($(origin BIN),undefined)
BIN := .venv/bin
ENVIRONMENT := .venv/.installed
endif
xnn = $(BIN)/python -m xnn
# everything that affects a page or the site; folders too, as their times show added and removed files
SOURCES := $(filter-out notebooks,$(shell find xnn notebooks methods pages params reports *.qmd *.yml models -name __pycache__ -prune -o -not -name '.*' -print 2> /dev/null))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help report status site app fiftyone sweep verify mlflow bench test lint format lab lock sbom notebooks clean always

help: ## list the goals
	@echo "usage: make GOAL [VARIABLE=value]"; echo
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 14
	@echo; sed -nE 's/^([A-Z]+) \?= ?([^#]*)## (.*)/  \1\t\3 (\2)/p' Makefile | sed 's/ ()//' | expand -t 14

report: _site/.$(STUDY) ## make the report of STUDY, and the site in _site/

# One process checks every page of the study and executes the stale ones. Always run if a variable may change
# what there is to do.
_site/.$(STUDY): $(SOURCES) $(if $(RUNS)$(ONLINE)$(ARCHIVE)$(MASKS)$(WEIGHTS)$(TRAIN),always) | $(ENVIRONMENT)
	@$(xnn) report $(STUDY) $(RUNS)
	@touch $@

# one page by name, with the pages it depends on
$(filter reports/%.ipynb,$(MAKECMDGOALS)): always | $(ENVIRONMENT)
	@$(xnn) page $@

status: | $(ENVIRONMENT) ## show which pages of STUDY are current, and what the others would take
	@$(xnn) status $(STUDY) $(RUNS)

site: | $(ENVIRONMENT) ## render the site from the existing reports
	@$(xnn) site

verify: | $(ENVIRONMENT) ## recompute the numbers of STUDY's report, and compare
	@$(xnn) verify $(STUDY)

sweep: | $(ENVIRONMENT) ## make the runs of SWEEP, their summary and the site
	@$(xnn) sweep $(SWEEP)
	@$(xnn) site

mlflow: | $(ENVIRONMENT) ## open the runs of every report in MLflow, on port 5000
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db --port 5000

fiftyone: | $(ENVIRONMENT) ## open the radiographs of STUDY in FiftyOne, on port 5151
	@$(xnn) fiftyone $(STUDY)

# with the report's memory settings the API would never release what its requests have used
app: | $(ENVIRONMENT) ## start the app on this machine: page on port 8501, API on 8000
	@env -u MALLOC_TRIM_THRESHOLD_ -u MALLOC_MMAP_THRESHOLD_ XNN_MODEL="$(MODEL)" OMP_NUM_THREADS=$(CORES) $(BIN)/python -m xnn.app

bench: | $(ENVIRONMENT) ## run benchmarks on this machine; `make bench BENCH=training` runs one
	@for name in $(BENCH); do $(BIN)/python benchmarks/$$name.py || exit; done

# ---- the environment -----------------------------------------------------------------------------

.venv/.installed: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "xnn needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "installing the packages of $(LOCK) into .venv ..."
	@mkdir -p .uv && awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements.lock > .uv/uv.lock
	@test -x .uv/bin/python || $(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --require-hashes -r .uv/uv.lock
	@test -x $(BIN)/python || .uv/bin/uv venv --quiet --python "$$(command -v $(PYTHON))" .venv
	@.uv/bin/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python $(LOCK)
	@.uv/bin/uv pip install --quiet --no-deps --no-build-isolation --offline --python $(BIN)/python -e .
	@touch $@

# the small lock has the versions of the whole one
lock: | $(ENVIRONMENT) ## resolve pyproject.toml into both locks again, with hashes
	@$(compile) --all-extras --group dev --output-file requirements.lock
	@$(compile) --extra report --group install --constraint requirements.lock --output-file requirements-report.lock

compile = $(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header

sbom: | $(ENVIRONMENT) ## list the packages that are installed, with versions and licences, as CycloneDX
	@mkdir -p _site && $(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	  --output-file _site/sbom.json $(BIN)/python && echo "the list is in _site/sbom.json"

# ---- development ---------------------------------------------------------------------------------

# one worker more than JOBS, as many tests wait for processes that they started
test: | $(ENVIRONMENT) ## run the tests
	@$(BIN)/python -m pytest -n $$(($(JOBS) + 1)) --dist loadfile

lint: | $(ENVIRONMENT) ## check style, format, spelling, secrets, and that notebooks match their scripts
	@PATH="$(abspath $(BIN)):$$PATH" pre-commit run --all-files

format: notebooks ## format the code, and regenerate the notebooks from their scripts
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format --quiet

notebooks: | $(ENVIRONMENT)
	@$(BIN)/jupytext --quiet --sync notebooks/*.py methods/*.py

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	@JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(BIN)/jupyter lab --LabApp.news_url=None \
	  $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

clean: ## remove the study's report and artifacts, and the site
	@rm -rf artifacts/$(STUDY) _site $(if $(filter phantom%,$(STUDY)),reports/$(STUDY))
