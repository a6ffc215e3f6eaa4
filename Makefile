# Every target makes its own .venv first; nothing else is needed.
PYTHON ?= python3
BIN := .venv/bin
TSC := build/node_modules/.bin/tsc

# Modules are compiled where they are first imported, and kept: most of what is installed never is.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test kernels lint docs bench wheel-test clean

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --no-compile "torch>=2.10,<2.14"
	$(BIN)/pip install -q --disable-pip-version-check --no-compile -e ".[dev]"
	touch $@

demo: .venv/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

# Two tests at a time with one thread each: most of them wait for a single thread.
test: .venv/.installed lint kernels
	@command -v chromium chromium-browser >/dev/null || \
	echo "The page is not tested in a browser: there is no Chromium (on Debian: apt-get install chromium)"
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

# What tests that run side by side would each compile is compiled once; `make -j2 test` does it beside the linters.
kernels: .venv/.installed
	@echo "compiling the kernels of the worlds"
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/compile_kernels.sh

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x $(TSC) ]; then $(TSC) -p fathom/page/static/jsconfig.json; \
	else echo "The page's scripts were not checked: npm install --prefix build --no-save typescript@5"; fi

# The site is build/site/index.html; for its search: python -m http.server -d build/site
docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: .venv/.installed
	$(BIN)/pip install -q --disable-pip-version-check -e ".[bench]"
	$(BIN)/python benchmarks/dqn_atari.py

# The pythons are of pyenv, of the system …; about 3 GB are fetched for each, most of them PyTorch's.
PYTHONS ?= python3.11 python3.12 python3.13
wheel-test: .venv/.installed
	$(BIN)/python tools/wheel_test.py $(PYTHONS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
