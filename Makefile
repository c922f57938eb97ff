# make demo   set up, train a real grid on this machine, show its table and charts
# make test   set up, run every test
# make check  format, lint, types, import contracts, fast tests (before each commit)

PYTHON ?=
BIN := .venv/bin
DEMO := grids/demo.yaml

.PHONY: demo test check lint setup bench clean

demo: setup
	$(BIN)/python -m jobs.submit $(DEMO)
	$(BIN)/python -m jobs.status demo
	$(BIN)/python -m analysis.tables demo
	$(BIN)/python -m analysis.parallel demo
	$(BIN)/python -m analysis.curves demo

test: setup
	$(BIN)/python -m pytest -n auto --dist worksteal -q

check: lint
	$(BIN)/python -m pytest -n auto --dist worksteal -q -m "not slow"

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.grid_wall

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml
	@PYTHON="$(PYTHON)" sh ./venv.sh
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
