# Needs only Python 3.11 or newer with venv. `make demo` renders the showcase, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --quiet --disable-pip-version-check --no-input

.PHONY: demo pictures test lint bench clean

demo: .venv/installed
	@date +%s > .venv/started
	@$(BIN)/affekt render examples/showcase.yaml --out out
	@$(BIN)/affekt page out --title "Affekt: one emotion, three arts"
	@echo "rendered in $$(( $$(date +%s) - $$(cat .venv/started) )) seconds"
	@echo
	@sed '/^#/!q; s/^# \{0,1\}//' examples/showcase.yaml

pictures: demo
	$(BIN)/python benchmarks/pictures.py out examples/pictures

test: .venv/developing
	$(BIN)/python -m pytest -q

lint: .venv/developing
	$(BIN)/ruff check .

bench: .venv/developing
	$(BIN)/python benchmarks/jobs.py

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv: some minutes the first time, since PyTorch is large"
	@$(PIP) install -c constraints.txt --upgrade pip
	@$(PIP) install -c constraints.txt torch==2.13.0
	@$(PIP) install -c constraints.txt --editable .
	@touch $@

.venv/developing: .venv/installed
	@$(PIP) install -c constraints.txt --group dev
	@touch $@

clean:
	rm -rf .venv out .cache
