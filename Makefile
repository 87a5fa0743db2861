# The two commands of the README are `make run` and `make test`; the rest is what they are made of.
# Nothing here needs root, and nothing is installed outside .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Builds of OpenBLAS that start one thread a core fight with the recommenders' own threads.
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format docs lock ui clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Makes .venv with the locked requirements and the project in it.

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python 3.11 or 3.12 is needed, {sys.executable} is {v[0]}.{v[1]}; name another: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## Sets up and runs the demo.
	@$(BIN)/zhiying demo

test: setup ## Sets up and runs all tests, with coverage.
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --no-loadscope-reorder --durations=25 --cov --cov-report=term
	@for package in models_ml orchestration simulation; do \
	  echo "$$package: $$($(BIN)/coverage report --include="$$package/*" --format=total) % covered, at least 90 is asked for"; \
	  $(BIN)/coverage report --include="$$package/*" --format=total --fail-under=90 >/dev/null || exit 1; \
	done

lint: setup ## Style, types and SQL.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@cd dbt_project && ../$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar models snapshots tests

format: setup ## Formats the Python code.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## Writes again what is generated: the landing contract's page and dbt's sources.
	@$(BIN)/python -m orchestration.landing.generate

lock: ## Resolves requirements.lock again; needs uv.
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-strip-extras --no-annotate --extra dev --output-file requirements.lock pyproject.toml

ui: setup ## Dagster's web UI over the demo's home.
	@$(BIN)/zhiying ui

clean: ## Removes what was set up and what runs wrote here.
	rm -rf $(VENV) .zhiying dbt_project/target dbt_project/logs .mypy_cache .ruff_cache .pytest_cache .coverage htmlcov
