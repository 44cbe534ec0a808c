# Every target works as the first command ever typed in a fresh clone: each one sets up .venv by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help setup demo test lint lock

BIN := .venv/bin
# The first candidate that is supported and really starts (a pyenv shim may not); PYTHON=... overrides.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python,$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $(p))))
# The locked PyTorch runs on CPUs and NVIDIA GPUs alike; TORCH=cpu installs its small build without the GPU libraries.
TORCH ?=
GB := $(if $(TORCH),3,8)
LOCKS := requirements.lock requirements-dev.lock

help: ## list these targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'

setup: .venv/installed ## make .venv from the hashed locks (TORCH=cpu: small build, no GPU)

# The stamp is written last: an interrupted set-up goes on at the next call.
.venv/installed: $(LOCKS)
	@fail() { echo "make setup: $$1" >&2; exit 1; }
	test -n "$(PYTHON)" || fail "needs Python 3.11, 3.12 or 3.13, found $$(python3 --version 2>&1); install one or name it: make setup PYTHON=/path/to/python3.12"
	free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}')
	test $$free -ge $(GB) || fail "needs $(GB) GB of disk, $$free GB are free here; free some$(if $(TORCH),, or take the small build: make setup TORCH=cpu)"
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv || fail "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"
	pick() { awk "/^[a-z]/ {keep = /$$1/} keep" $$2; } # the lock's entries whose name matches
	pick '^uv==' requirements-dev.lock > .venv/uv.lock
	if $(BIN)/python -m pip install -q --require-hashes -r .venv/uv.lock; then
		install="$(BIN)/uv pip install --python $(BIN)/python"
	else
		echo "uv is not to be had, pip takes over (slower)" >&2
		install="$(BIN)/python -m pip install"
	fi
	if [ "$(TORCH)" = cpu ]; then
		# The CPU builds have hashes of their own, so these two come by version, everything else by hash.
		pick '^(torch|torchvision|triton|nvidia-|cuda-)' requirements.lock | grep -vxFf - requirements.lock > .venv/cpu.lock
		$$install --require-hashes -r .venv/cpu.lock -r requirements-dev.lock
		$(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu $$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock)
	else
		$$install --require-hashes $(LOCKS:%=-r %)
	fi
	# `.venv/bin/dvc` runs `python -m stages...`: without an activated environment, too, that shall be this python.
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	echo 'import os, sys; os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)' > "$$site/this_python_first.pth"
	# `dvc plots` would load its drawing library from the network; this page, for this clone, carries it.
	$(BIN)/python -c 'import vl_convert; print("<!DOCTYPE html><html><head><meta charset=utf-8><title>Plots</title>{refresh_tag}<script>" + vl_convert.javascript_bundle() + "</script></head><body>{plot_divs}</body></html>")' > .venv/plots.html
	$(BIN)/dvc config --local plots.html_template ../.venv/plots.html
	touch $@
	echo "ready: make demo, make test, or . $(BIN)/activate && dvc repro"

# What suits 1,437 training digits: fewer epochs, a smaller validation split, and no flips, which would turn a 2 into an S.
DEMO := dataset=digits epochs=20 validation_size=200 augmentation.flip_p=0

demo: setup ## the whole pipeline on embedded digits, no download, about a minute
	@$(BIN)/dvc exp run --force $(DEMO:%=--set-param %)
	$(BIN)/dvc metrics show metrics/test.json metrics/train.json
	cat <<-'END'

	The workspace now holds a trained digit classifier. Try, in this terminal (`. .venv/bin/activate` first):
	  dvc exp run --set-param lr=0.01   change one number: only train and evaluate run again
	  dvc exp show --only-changed       every experiment so far
	  dvc params diff                   what differs from the committed parameters
	  dvc metrics diff                  and what came of it
	  dvc plots diff                    the same as curves, in dvc_plots/index.html
	Back to the real thing, CIFAR-10:
	  git restore params.yaml dvc.lock metrics plots && dvc repro
	END

lint: setup ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint ## lint, types and the test suite
	@$(BIN)/python -m pytest

lock: setup ## renew both locks within the ranges of pyproject.toml
	@compile="$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --upgrade -q"
	$$compile pyproject.toml -o requirements.lock
	$$compile --group dev -c requirements.lock -o requirements-dev.lock
