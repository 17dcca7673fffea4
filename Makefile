# make serve   build into .venv, serve the demonstration application on http://127.0.0.1:8000
# make serve APP=module:app DIR=/srv/site   the same with an application of your own, in its folder
# make test    every check and every test, Rust and Python
# make lint    the checks alone
# make fuzz    the fuzzer for a minute a target, or FUZZ_SECONDS=600
# make bench   the comparison with other servers
# make clean   takes away what was built

PYTHON ?= python3
APP ?= stdserve.demo:app
BIND ?= 127.0.0.1:8000
FUZZ_SECONDS ?= 60

BIN := .venv/bin
CARGO ?= cargo
# The environment for maturin, which installs into the virtual environment that it is told.
VENV_ENV := VIRTUAL_ENV=$(CURDIR)/.venv PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: serve build test test-rust test-others test-python lint fuzz loom bench clean tools need
.NOTPARALLEL:

serve: build
	@cd "$(or $(DIR),.)" && exec "$(CURDIR)/$(BIN)/stdserve" "$(APP)" --bind "$(BIND)"

build: .venv/.made
	@$(VENV_ENV) $(BIN)/maturin develop --release --locked --quiet

test: lint test-rust loom test-others test-python

# A Debian package that is needed and missing is named, never skipped over.
need:
	@command -v cc >/dev/null || { echo "make: a C linker is needed: apt install gcc libc6-dev" >&2; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "make: cargo is needed: https://rustup.rs" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "make: Python is needed: apt install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; this is $$($(PYTHON) -V)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: Python's venv is needed: apt install python3-venv" >&2; exit 1; }

.venv/.made: | need
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2'
	@touch $@

.venv/.tools: .venv/.made tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

tools: .venv/.tools

lint: tools
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || { echo "make: rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2; exit 1; }
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- --deny warnings
	$(BIN)/ruff check --quiet python tests bench examples .ci
	$(BIN)/ruff format --check --quiet python tests bench examples .ci
	$(BIN)/mypy --no-error-summary
	MYPYPATH=python $(BIN)/mypy --no-error-summary --config-file tests/mypy.ini tests
	$(BIN)/mypy --no-error-summary --config-file examples/mypy.ini examples
	$(BIN)/python .ci/licences.py

# The fuzzer runs among them, for 3 seconds a target.
test-rust: need
	$(CARGO) test --workspace --locked --quiet

# The hand-over of the loop between threads, records of the scoreboard, and messages between processes, in every order
# that they can run in.
loom: need
	RUSTFLAGS="--cfg loom" $(CARGO) test --package stdserve-server --lib --locked --quiet --target-dir target/loom crew::handover
	RUSTFLAGS="--cfg loom" $(CARGO) test --package stdserve-sys --lib --locked --quiet --target-dir target/loom scoreboard::sealed
	RUSTFLAGS="--cfg loom" $(CARGO) test --package stdserve-sys --lib --locked --quiet --target-dir target/loom broadcast::model

fuzz: need
	STDSERVE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --release --package stdserve-proto --test 'fuzz*' --locked -- --nocapture

# What depends on the version, on the other versions of CPython that stand on this machine, from a debug build.
test-others: need
	@set -e; for python in $$(.ci/other-pythons $(PYTHON)); do \
		name=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "The gateway on Python $$name:"; \
		[ -d .venv-$$name ] || "$$python" -m venv .venv-$$name; \
		.venv-$$name/bin/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2' pytest pytest-xdist pytest-timeout; \
		VIRTUAL_ENV="$(CURDIR)/.venv-$$name" .venv-$$name/bin/maturin develop --locked --quiet --target-dir target/pythons; \
		.venv-$$name/bin/python -m pytest -c tests/pytest.ini --quiet tests/test_wsgi_*.py tests/test_import_*.py tests/test_cpython_*.py \
			tests/test_dropin_engine.py tests/test_dropin_forks.py tests/test_dropin_paths.py tests/test_dropin_calls.py \
			tests/test_socketserver.py tests/test_preload.py tests/test_concurrent_ends.py \
			tests/test_concurrent_tasks.py tests/test_concurrent_tasks_waits.py tests/test_concurrent_tasks_signals.py \
			tests/test_dropin_ending.py; \
	done

test-python: tools build
	$(BIN)/python -m pytest -c tests/pytest.ini tests

bench: build
	$(BIN)/python bench/run.py

clean:
	rm -rf target .venv .venv-* dist python/stdserve/_stdserve*.so
