# Two commands are enough: `make serve` and `make test`. README.md says more.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
TESTS ?= tests
BENCH ?=

.PHONY: help serve test check format reference bench profile soak clients clean
.DEFAULT_GOAL := help

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

# Installing speaks on stderr: the stdout of `make serve` is the daemon's ready line.
$(VENV)/created: scripts/venv
	@scripts/venv "$(PYTHON)" $(VENV) >&2
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml
	@echo "Installing Kagikura into $(VENV)" >&2
	@$(PIP) install --editable . >&2
	@touch $@

$(VENV)/installed-tests: $(VENV)/created pyproject.toml
	@echo "Installing Kagikura and its test tools into $(VENV)" >&2
	@$(PIP) install --editable '.[test,check]' >&2
	@touch $@ $(VENV)/installed

kagikura.toml:
	@cp config/checkout.toml $@

serve: $(VENV)/installed kagikura.toml ## run a demo store from ./var in the foreground
	@scripts/serve $(BIN)/kagikura

test: $(VENV)/installed-tests clients check ## all that CI runs
	scripts/in-memory $(BIN)/pytest -n 2 -m "not soak" $(TESTS)

check: $(VENV)/installed-tests ## style, types, layers, limits: no test runs
	$(BIN)/ruff format --check server tests bench
	$(BIN)/ruff check server tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_house_*.py

format: $(VENV)/installed-tests ## lay the code out, mend what can be mended
	$(BIN)/ruff format server tests bench
	$(BIN)/ruff check --fix server tests bench

reference: $(VENV)/installed ## write config/kagikura.toml from the schema
	$(BIN)/kagikura config reference --toml > config/kagikura.toml

bench: $(VENV)/installed-tests clients ## speed beside OpenSSH and others, into bench/RESULTS.md
	$(BIN)/python bench/run.py --report bench/RESULTS.md $(BENCH)

profile: $(VENV)/installed-tests clients ## flame graphs under load, into var/profile
	@$(PIP) install --editable '.[bench]' >&2
	$(BIN)/python bench/flames.py $(BENCH)

soak: $(VENV)/installed-tests ## the long runs
	@scripts/test-clients --soak >&2
	-@$(PIP) install --editable '.[soak]' >&2 # without atheris its case is skipped
	$(BIN)/pytest -m soak --timeout 0 $(TESTS) || test $$? = 5 # 5: there are none

clients:
	@scripts/test-clients >&2

clean: ## forget the environment and the caches; ./var stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
