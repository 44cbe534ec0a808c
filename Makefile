# Each target works as the first command ever typed in a fresh clone: it sets up .venv by itself.
.PHONY: help setup demo lint test kills verify audit bench ablation lock

BIN := .venv/bin
# `make lock` and `make audit` trust the system's certificates as setup.sh does.
export UV_SYSTEM_CERTS ?= 1

help: ## list these targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/make \1|\2/p' Makefile | awk -F'|' '{printf "  %-11s %s\n", $$1, $$2}'

# The build of PyTorch that .venv holds: gpu (runs on CPUs as well) or cpu. Later calls keep it.
TORCH ?= $(or $(patsubst .venv/installed-%,%,$(firstword $(wildcard .venv/installed-*))),gpu)

setup: .venv/installed-$(TORCH) ## make .venv from the hashed locks (TORCH=cpu: small build, no GPU)

# The stamp comes last, so that an interrupted set-up is resumed at the next call. The other build's stamp goes first.
.venv/installed-$(TORCH): setup.sh requirements.lock requirements-dev.lock
	@rm -f $(filter-out $@,$(wildcard .venv/installed-*))
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" bash setup.sh
	@touch $@

# What suits 1,437 digits: fewer epochs, a smaller validation split, and no flips, which would turn a 2 into an S.
DEMO := dataset=digits epochs=20 validation_size=200 augmentation.flip_p=0 tta=none

demo: setup ## the whole pipeline on embedded digits, no download, about a minute
	@$(BIN)/dvc exp run $(DEMO:%=--set-param %)
	@$(BIN)/dvc metrics show metrics/test.json
	@echo
	@echo "The workspace now holds a trained classifier of digits. Try next:"
	@echo "  . .venv/bin/activate              once in this terminal"
	@echo "  dvc exp run --set-param lr=0.01   change one number: only train and evaluate run again"
	@echo "  dvc params diff                   what differs from the committed parameters"
	@echo "  dvc metrics diff                  and what came of it"
	@echo "  dvc plots diff                    the same as curves: dvc_plots/index.html"
	@echo "Back to the real thing, CIFAR-10:"
	@echo "  git restore params.yaml dvc.lock metrics plots && dvc repro"

lint: setup ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint ## lint, types and the test suite
	@$(BIN)/python -m pytest

kills: setup ## kill dvc and its stages at 200 moments, compare every byte; about an hour
	@$(BIN)/python -m pytest -n 0 tests/test_kills.py --kills 200

verify: setup ## run the whole pipeline again in a copy, compare every output with dvc.lock; as long as dvc repro
	@$(BIN)/python -m stages.verify

audit: setup ## check the locked versions for known vulnerabilities
	@$(BIN)/uvx pip-audit --disable-pip --require-hashes -r requirements.lock -r requirements-dev.lock

bench: setup ## speed against a tutorial's training loop, and where the time goes; ten minutes, nothing else running
	@$(BIN)/python -m benchmarks

ablation: setup ## the table of what each change to the recipe is worth, from the experiments of this repository
	@$(BIN)/python -m benchmarks.ablation

lock: setup ## update both locks within the ranges of pyproject.toml
	@$(BIN)/uv pip compile $(COMPILE) pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock
COMPILE := --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --upgrade -q
