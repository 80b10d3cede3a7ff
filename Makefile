# Needs only Python 3.11 or newer with venv. `make demo` renders the showcase, `make studio` opens the studio,
# `make test` runs all the tests, `make test-fast` those that a change needs before each commit.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --quiet --disable-pip-version-check --no-input

# a worker on every core, each on one thread; the ten slowest tests are printed
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal --durations 10
MATRIX := OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 OMP_NUM_THREADS=4 \
          ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=SSE41

.PHONY: demo studio pictures test test-fast test-matrix lint types docs wheel bench clean

demo: .venv/installed
	@date +%s > .venv/started
	@$(BIN)/affekt render examples/showcase.yaml --out out
	@$(BIN)/affekt page out --title "Affekt: one emotion, three arts"
	@echo "rendered in $$(( $$(date +%s) - $$(cat .venv/started) )) seconds"
	@echo
	@sed '/^#/!q; s/^# \{0,1\}//' examples/showcase.yaml

studio: .venv/installed
	@$(PIP) install -c constraints.txt --editable ".[apps,provenance]"
	@$(BIN)/affekt studio --open

pictures: demo
	$(BIN)/python benchmarks/pictures.py out examples/pictures

test test-fast test-matrix: export OMP_NUM_THREADS ?= 1

test: .venv/developing
	$(PYTEST)

test-fast: .venv/developing
	$(PYTEST) -m "not slow"

# the same tests on other kernels and numbers of threads, as other machines choose them
test-matrix: .venv/developing
	@for setting in $(MATRIX); do echo "$$setting"; env $$setting $(PYTEST) || exit 1; done

lint: .venv/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/developing
	@$(PIP) install -c constraints.txt --group types
	$(BIN)/pyright

# this site, into dist/site; it opens from the file system, too
docs: .venv/installed
	@$(PIP) install -c constraints.txt --group docs
	$(BIN)/python -m mkdocs build --strict --quiet --site-dir dist/site

# a wheel, installed away from the checkout, makes music, a voice and a film
wheel: .venv/installed
	rm -rf dist/away dist/*.whl
	$(PIP) wheel --no-deps --wheel-dir dist .
	$(BIN)/python -m venv dist/away
	dist/away/bin/pip --quiet --no-input install -c constraints.txt torch dist/affekt-*.whl
	cp examples/grace_hopper.jpg examples/line.opus dist/
	cd dist && away/bin/affekt checkpoints verify
	cd dist && away/bin/affekt music --emotion happy --bars 2 --out made && ls made/*.wav
	cd dist && away/bin/affekt voice line.opus --emotion sad --out made/voice.wav
	cd dist && away/bin/affekt talk grace_hopper.jpg made/voice.wav --emotion sad --size 256 --out made/talk.mp4

bench: .venv/developing
	$(BIN)/python benchmarks/jobs.py
	$(BIN)/python benchmarks/startup.py

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
	rm -rf .venv out .cache dist
