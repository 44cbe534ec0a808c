# Each target works as the first command ever typed in a fresh clone: it sets up .venv by itself.
.PHONY: help setup setup-cluster demo train sweep lint test same portable verify kills mutants release audit bench compare show plots watch report lock FORCE

BIN := .venv/bin
# The stages run as `python -I stages ...`: that is the python of .venv.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What a hook, a notebook or a shell exports for others stays outside.
unexport _ $(shell python3 -I src/cifar10/core/environment.py 2>/dev/null)
# An argument is what was typed: make NAME=value. A shell may export such a name for something else.
ARGUMENTS := PYTHON TORCH CLUSTER RECIPE SEED GRID FILE ADDRESS TRIALS SAMPLER OBJECTIVE PER_GPU COMMIT EXPERIMENTS BASE COMPARE COUNT MODULES
$(foreach name,$(ARGUMENTS),$(if $(filter environment,$(origin $(name))),\
	$(warning note: $(name) is in the environment, where make does not read it; type: make ... $(name)=...)$(eval $(name) :=)))
# `make lock` and `make audit` trust the system's certificates as setup.sh does.
export UV_SYSTEM_CERTS ?= 1

help: ## list these targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1|\2/p' Makefile | awk -F'|' '{printf "  %-19s %s\n", $$1, $$2}'

# What .venv holds: the build of PyTorch, gpu (runs on CPUs as well) or cpu, and whether Ray. Later calls keep both.
INSTALLED := $(subst -, ,$(notdir $(firstword $(wildcard .venv/installed-*))))
TORCH := $(or $(filter gpu cpu,$(word 2,$(INSTALLED))),gpu)
CLUSTER := $(word 3,$(INSTALLED))
$(if $(filter gpu cpu,$(TORCH)),,$(error setup: TORCH must be gpu or cpu (got $(TORCH))))
# It does not work in a folder that was moved or copied, for which activate was not made, or if its Python was replaced.
MOVED := $(shell [ ! -e $(BIN)/activate ] || { \
	{ grep -qF "$$(pwd -P)/.venv" $(BIN)/activate || (. $(BIN)/activate && [ "$$VIRTUAL_ENV" -ef .venv ]); } && \
	$(BIN)/python -I -c 'import pip' 2> /dev/null; } || echo moved)
STAMP := .venv/installed-$(TORCH)$(if $(CLUSTER),-cluster)
LOCKS := requirements.lock requirements-dev.lock $(if $(CLUSTER),requirements-cluster.lock)

setup: $(STAMP) ## make .venv from the hashed locks (TORCH=cpu: small build, no GPU)

setup-cluster: ## the same, with Ray for make sweep and DVC's support for SSH and S3
	@$(MAKE) --no-print-directory setup CLUSTER=1 TORCH="$(TORCH)" PYTHON="$(PYTHON)"

FORCE:

# The stamp comes last, so that an interrupted set-up is resumed at the next call. The one before goes first.
$(STAMP): setup.sh $(LOCKS) $(if $(PYTHON)$(MOVED),FORCE)
	@rm -f $(filter-out $@,$(wildcard .venv/installed-*))
	@PYTHON="$(PYTHON)" MOVED="$(MOVED)" TORCH="$(TORCH)" LOCKS="$(LOCKS)" bash setup.sh
	@touch $@

demo: setup ## the whole pipeline on embedded digits, no download, about a minute
	@$(BIN)/python -m tools.recipe digits
	@$(BIN)/dvc metrics show metrics/test.json
	@echo
	@echo "The workspace now holds a trained classifier of digits. Change a number and compare:"
	@echo "  . .venv/bin/activate              once in this terminal"
	@echo "  dvc exp run --name low-lr --set-param lr=0.01"
	@echo "  make show                         all experiments, and what differs"
	@echo "  dvc exp diff digits-s0 low-lr     what differs in numbers"
	@echo "  dvc plots diff digits-s0 low-lr   and in curves"
	@echo "Then CIFAR-10: make train RECIPE=default"

train: setup ## run a recipe as an experiment: make train RECIPE=reference SEED=1
	@$(BIN)/python -m tools.recipe "$(or $(RECIPE),default)" --seed "$(or $(SEED),0)"

sweep: setup-cluster ## many experiments on Ray: GRID='lr=0.05,0.1 seed=0,1'; a search: GRID='lr=0.05..0.5:log' TRIALS=40
	@$(BIN)/python -m tools.sweep $(GRID) $(if $(RECIPE),--recipe "$(RECIPE)") \
		$(if $(FILE),--file "$(FILE)") $(if $(ADDRESS),--address "$(ADDRESS)") $(if $(TRIALS),--trials "$(TRIALS)") \
		$(if $(PER_GPU),--per-gpu "$(PER_GPU)") \
		$(if $(SAMPLER),--sampler "$(SAMPLER)") $(if $(OBJECTIVE),--objective "$(OBJECTIVE)")

lint: setup ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint ## lint, types and the test suite
	@$(BIN)/python -m pytest

same: setup ## whether the working tree writes the same bytes as COMMIT (HEAD): digits, five variants, about a minute
	@$(BIN)/python -m tools.same "$(or $(COMMIT),HEAD)"

kills: setup ## kill dvc and its stages at 200 moments, compare every byte; about an hour
	@$(BIN)/python -m pytest -n 0 tests/test_kills.py --kills 200

mutants: setup ## put COUNT=2 faults into each module, drawn from SEED=0, print those that no test sees; 10 minutes
	@VIRTUAL_ENV=.venv $(BIN)/uv run -q --no-project --with cosmic-ray==8.7.0 \
		python -m tools.mutants "$(or $(COUNT),2)" "$(or $(SEED),0)" $(MODULES)

portable: setup ## whether this processor computes the bits of any x86-64 processor; CIFAR-10 (170 MB), ten minutes
	@$(BIN)/python -m tools.portable

verify: setup ## make portable; then the whole pipeline again in a copy, each output compared with dvc.lock
	@$(BIN)/python -m tools.portable; portable=$$?; [ $$portable -lt 128 ] || exit $$portable; \
		$(BIN)/python -m tools.verify && { [ $$portable = 0 ] || \
		{ echo "error: verify: make portable failed, see above" >&2; exit $$portable; }; }

release: setup ## the network of the workspace into release/, for `cifar10 classify`, with its model card
	@$(BIN)/python -m tools.release

audit: setup ## check the locked versions for known vulnerabilities
	@$(BIN)/uvx pip-audit --disable-pip --require-hashes -r requirements.lock -r requirements-dev.lock -r requirements-cluster.lock

bench: setup ## speed against a tutorial's training loop, and where the time goes; ten minutes, nothing else running
	@$(BIN)/python -m benchmarks

compare: setup ## experiments side by side, mean over the seeds, against BASE=NAME; EXPERIMENTS='fast-* lr-*' chooses
	@set -f; $(BIN)/python -m tools.compare $(if $(BASE),--base "$(BASE)") -- $(EXPERIMENTS)

show: setup ## list the experiments with their numbers, their recipe and what differs from it; EXPERIMENTS='fast-*' chooses
	@set -f; $(BIN)/python -m tools.show $(EXPERIMENTS)

plots: setup ## draw the curves and pictures of the workspace, also while a training runs
	@$(BIN)/dvc plots show

watch: setup ## a page that follows a running training: curves, images a second, time left; in a second terminal
	@$(BIN)/python -m tools.watch

report: setup ## one page about the results, report.html; make report COMPARE=REV shows those of REV beside them
	@$(BIN)/python -m tools.report $(if $(COMPARE),--compare "$(COMPARE)")

lock: setup ## update the locks within the ranges of pyproject.toml
	@$(BIN)/uv pip compile $(COMPILE) pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile $(COMPILE) --group cluster -c requirements.lock -c requirements-dev.lock \
		-o requirements-cluster.lock
COMPILE := --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --upgrade -q
