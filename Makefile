# The report, one rule a step. `make` lists the goals.

STUDY ?= phantom## the study: a folder of params/
ARCHIVE ?=## a zip or folder of radiographs, for studies of real ones
WEIGHTS ?=## a folder of weight files (safetensors)
RUNS ?=## the runs to make, without it all that need no download
ONLINE ?=## 1: also the runs whose weights have to be downloaded
SWEEP ?= params/sweeps/phantom-rates.yaml## the sweep to make
SCHEDULER ?=## tcp://...: the workers of this dask scheduler make it, not this machine
JOBS ?= 2## steps executed side by side, and runs of a sweep
MODEL ?= models/kermany-mobilenetv2-full## what the app serves: a folder, or an id of the hub
PYTHON ?= python3## the Python (3.11 or later) that makes the environment
export ARCHIVE WEIGHTS

# glibc gives the memory of every training step back to the system and asks for it again at the next
# one; kept instead, a step on a CPU takes less time.
export MALLOC_TRIM_THRESHOLD_ ?= 8589934592
export MALLOC_MMAP_THRESHOLD_ ?= 8589934592
# Two steps side by side, each with half of the processor's cores, do more than one after the other with
# all: most of a step's time is one thread's. More threads than cores would be very slow.
MAKEFLAGS += -j$(JOBS)
CORES := $(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS ?= $(shell n=$$(($(CORES) / $(JOBS))); echo $$((n > 1 ? n : 1)))

# `BIN=$CONDA_PREFIX/bin` uses an environment of your own instead of the one made here.
ifeq ($(origin BIN),undefined)
BIN := .venv/bin
ENVIRONMENT := .venv/.installed
endif
R := reports/$(STUDY)
ALL := $(sort $(filter-out study,$(basename $(notdir $(wildcard params/$(STUDY)/*.yaml)))))
NEED_DOWNLOAD := $(if $(ONLINE),,$(shell grep -ls '^online: *true' params/$(STUDY)/*.yaml))
CHOSEN := $(or $(RUNS),$(filter-out $(basename $(notdir $(NEED_DOWNLOAD))),$(ALL)))
PAGES := $(R)/1-wrangle.ipynb $(R)/2-explore.ipynb $(R)/6-compare.ipynb $(R)/7-protocol.ipynb \
  $(foreach run,$(CHOSEN),$(addprefix $(R)/$(run)/,3-train.ipynb 4-evaluate.ipynb 5-explain.ipynb))
METHODS := $(patsubst methods/%.py,reports/methods/%.ipynb,$(wildcard methods/*.py))
step = $(BIN)/python -m xnn.pipeline
code = $(patsubst %,xnn/%.py,params provenance $(1))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help report site app fiftyone sweep verify mlflow test lint format lab lock notebooks clean

help: ## list the goals
	@echo "usage: make GOAL [VARIABLE=value]"; echo
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 14
	@echo; sed -nE 's/^([A-Z]+) \?= ?([^#]*)## (.*)/  \1\t\3 (\2)/p' Makefile | sed 's/ ()//' | expand -t 14

report: _site/index.html ## make the report of STUDY, and the site in _site/

site: $(METHODS) | $(ENVIRONMENT) ## render the site from the reports that there are
	@$(step) site

verify: | $(ENVIRONMENT) ## make the numbers of STUDY's report again, and compare
	@$(BIN)/python -m xnn.verify $(STUDY)

sweep: | $(ENVIRONMENT) ## make the runs of SWEEP, their summary and the site
	@JOBS=$(JOBS) SCHEDULER=$(SCHEDULER) $(BIN)/python -m xnn.cluster $(SWEEP)
	@$(step) site

mlflow: | $(ENVIRONMENT) ## open the runs of every report in MLflow, on port 5000
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db --port 5000

fiftyone: | $(ENVIRONMENT) ## open the radiographs of STUDY in FiftyOne, on port 5151
	@$(step) fiftyone $(STUDY)

# the report's memory settings would keep what every request has used
app: | $(ENVIRONMENT) ## start the app on this machine: page on port 8501, API on 8000
	@env -u MALLOC_TRIM_THRESHOLD_ -u MALLOC_MMAP_THRESHOLD_ XNN_MODEL="$(MODEL)" OMP_NUM_THREADS=$(CORES) $(BIN)/python -m xnn.app

# ---- steps: the executed notebook is the target and the only stamp -------------------------------

$(R)/1-wrangle.ipynb: notebooks/1-wrangle.py params/$(STUDY)/study.yaml $(call code,phantom images sources splits leakage wrangling) | $(ENVIRONMENT)
	@$(step) 1-wrangle $(STUDY)

$(R)/2-explore.ipynb: notebooks/2-explore.py $(R)/1-wrangle.ipynb $(call code,splits data weights models embedding duplicates suspects exploration mongo fiftyone_dataset fiftyone_view plots/look plots/data plots/audit)
	@$(step) 2-explore $(STUDY)

$(R)/%/3-train.ipynb: notebooks/3-train.py params/$(STUDY)/%.yaml $(R)/1-wrangle.ipynb $(call code,images data weights models batches recipe features training plots/look plots/training)
	@$(step) 3-train $(STUDY) $*

$(R)/%/4-evaluate.ipynb: notebooks/4-evaluate.py $(R)/%/3-train.ipynb $(call code,inference prediction scoring evaluation curves calibration plots/look plots/data plots/evaluation)
	@$(step) 4-evaluate $(STUDY) $*

# after 4-evaluate: both read the predictions, and the first one makes those of 3-train anew where they are stale
$(R)/%/5-explain.ipynb: notebooks/5-explain.py $(R)/%/4-evaluate.ipynb $(call code,data models inference prediction scoring evaluation curves axioms integrated attribution methods sample localisation measures evidence card gallery plots/look plots/explanation)
	@$(step) 5-explain $(STUDY) $*

$(R)/6-compare.ipynb: notebooks/6-compare.py $(CHOSEN:%=$(R)/%/4-evaluate.ipynb) $(CHOSEN:%=$(R)/%/5-explain.ipynb) $(call code,leakage comparison scoring evaluation plots/look plots/comparison)
	@$(step) 6-compare $(STUDY)

# the other studies that it is compared with are of the same radiographs: kermany, kermany-official, ...
$(R)/7-protocol.ipynb: notebooks/7-protocol.py $(R)/6-compare.ipynb $(wildcard reports/$(firstword $(subst -, ,$(STUDY)))*/*/metrics.json) $(call code,shortcut protocol comparison calibration scoring evaluation plots/look plots/comparison)
	@$(step) 7-protocol $(STUDY)

# belongs to no study
reports/methods/%.ipynb: methods/%.py $(wildcard xnn/appendix/*.py) $(call code,phantom axioms integrated fixed attribution localisation plots/look plots/appendix plots/explanation) | $(ENVIRONMENT)
	@$(BIN)/python -m xnn.appendix.pages $*

# a run that starts from another one's model waits for it
start_from = $(shell sed -nE 's/.*start_from: *([A-Za-z0-9._-]+).*/\1/p' params/$(STUDY)/$(1).yaml)
$(foreach run,$(ALL),$(foreach start,$(filter $(ALL),$(call start_from,$(run))),$(eval $(R)/$(run)/3-train.ipynb: $(R)/$(start)/3-train.ipynb)))

_site/index.html: $(PAGES) $(METHODS) $(wildcard $(addprefix reports/*/,*.ipynb */*.ipynb sweeps/*/*.ipynb)) _quarto.yml $(wildcard *.qmd *.css)
	@$(step) track $(STUDY)
	@$(step) site

ifneq ($(filter report _site/index.html $(R)/%,$(MAKECMDGOALS)),)
ifeq ($(wildcard params/$(STUDY)/study.yaml),)
$(error no study '$(STUDY)': there is $(notdir $(patsubst %/study.yaml,%,$(wildcard params/*/study.yaml))))
endif
endif

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
	@rm -rf artifacts/$(STUDY) _site $(if $(filter phantom%,$(STUDY)),$(R))
