# Needs Python 3.11 or newer, git and make. uv is used where it is installed and otherwise put into .cache/uv.

PYTHON ?= python3
ARGS ?=

ifeq ($(shell uv --version >/dev/null 2>&1 && echo yes),yes)
UV := uv
BOOTSTRAP :=
else
UV := .cache/uv/bin/uv
BOOTSTRAP := $(UV)
endif
RUN := $(UV) run --frozen

.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz check bench format docs pictures secrets

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# At a terminal the demo gets a process group of its own: Ctrl-C is its alone, and make succeeds when it ends with 0.
demo: $(BOOTSTRAP) ## Both workshops on this machine; ARGS="--lots 1 --speed 600 --exit" makes one lot a line and stops
	@if [ -t 0 ]; then set -m; fi; $(RUN) --no-dev filiere demo $(ARGS); exit $$?

test: $(BOOTSTRAP) ## Import contracts, then every test with coverage; servers that are missing are named and skipped
	@$(RUN) lint-imports
	@$(RUN) pytest --cov --cov-report=term $(ARGS)

soak: $(BOOTSTRAP) ## The long fault tests: 500 kills over a million readings, power cuts by the hundred; half an hour
	@$(RUN) pytest -m soak $(ARGS)

fuzz: $(BOOTSTRAP) ## A million bad messages beside good ones; minutes
	@$(RUN) pytest -m fuzz $(ARGS)

check: $(BOOTSTRAP) ## Style, types, import contracts; changes nothing
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) lint-imports

bench: $(BOOTSTRAP) ## What this machine can do; ARGS="--json" for a file, ARGS="storage" for one part
	@$(RUN) python -m tests.bench $(ARGS)

format: $(BOOTSTRAP) ## Rewrite the code in the house's format
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

docs: $(BOOTSTRAP) ## Rewrite the pages that are made from the code
	@page=$$($(RUN) filiere settings --markdown) && printf '%s\n' "$$page" > docs/settings.md

pictures: $(BOOTSTRAP) ## Make the pictures of README and docs again: curves, then a running demo (needs Chromium; two minutes)
	@$(RUN) python docs/make_calibration.py
	@$(RUN) python docs/make_score.py
	@$(RUN) python docs/make_pictures.py
	@$(RUN) python docs/make_console_picture.py

secrets: ## Write the passwords that docker-compose.yml needs into .env and secrets/
	@$(PYTHON) deploy/make_secrets.py

.cache/uv/bin/uv:
	@echo "uv is not installed: putting it into .cache/uv"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("got Python %d.%d, expected 3.11 or newer: make PYTHON=python3.11" % v)'
	@$(PYTHON) -m venv .cache/uv || { echo "this Python has no venv: install python3-venv, or uv"; exit 1; }
	@.cache/uv/bin/python -m pip --quiet --disable-pip-version-check install 'uv>=0.8,<1'
