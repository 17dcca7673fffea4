# make serve   build into .venv, serve the demonstration application on http://127.0.0.1:8000
# make serve APP=module:app   the same with an application of your own
# make test    every check and every test, Rust and Python
# make lint    the checks alone      make bench   the comparison with other servers      make clean

PYTHON ?= python3
APP ?= stdserve.demo:app
BIND ?= 127.0.0.1:8000
# How long each fuzz target runs, in seconds; longer on demand: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 5

BIN := .venv/bin
CARGO ?= cargo
# The environment for maturin, which installs into the virtual environment that it is told.
VENV_ENV := VIRTUAL_ENV=$(CURDIR)/.venv PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: serve build test test-rust test-python lint fuzz loom bench clean tools need
.NOTPARALLEL:

serve: build
	@cd "$(or $(DIR),.)" && exec "$(CURDIR)/$(BIN)/stdserve" "$(APP)" --bind "$(BIND)"

build: .venv/.made
	@$(VENV_ENV) $(BIN)/maturin develop --release --locked --quiet

test: need lint test-rust loom fuzz test-python

# A Debian package that is needed and missing is named, never skipped over.
need:
	@command -v cc >/dev/null || { echo "make: a C linker is needed: apt install gcc libc6-dev" >&2; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "make: cargo is needed: https://rustup.rs" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "make: Python is needed: apt install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; this is $$($(PYTHON) -V)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: Python's venv is needed: apt install python3-venv" >&2; exit 1; }
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || { echo "make: rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2; exit 1; }

.venv/.made: | need
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2'
	@touch $@

.venv/.tools: .venv/.made tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

tools: .venv/.tools

lint: tools build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- --deny warnings
	$(BIN)/ruff check --quiet python tests bench .ci
	$(BIN)/ruff format --check --quiet python tests bench .ci
	$(BIN)/mypy --no-error-summary
	$(BIN)/python .ci/licences.py

test-rust:
	$(CARGO) test --workspace --locked --quiet

test-python: tools build
	$(BIN)/python -m pytest -c tests/pytest.ini tests

bench: build
	$(BIN)/python bench/run.py

clean:
	rm -rf target .venv dist python/stdserve/_stdserve*.so
