# make demo   set up, train a real grid on this machine, show its table and charts
# make test   set up, run every test (as root on Debian it installs the programs that tests need)
# make image  build containers/anlp.sif (IMAGE='--cpu --from debootstrap': see containers/build.sh --help)
# make docs   build the documentation as a site, with broken links as errors
# make check  format, lint, types, import contracts, spelling, fast tests (before each commit)

PYTHON ?=
IMAGE ?=
BIN := .venv/bin
DEMO := grids/demo.yaml
PYTEST := $(BIN)/python -m pytest --dist worksteal -q
# one more than there are cores: many tests wait for Slurm or for processes that they start
WORKERS := $(shell echo $$(($$(nproc) + 1)))

.PHONY: demo test check fast lint setup bench image docs clean

demo: setup
	$(BIN)/python -m jobs.submit $(DEMO) --on local
	$(BIN)/python -m jobs.status demo
	$(BIN)/python -m analysis.tables demo
	$(BIN)/python -m analysis.parallel demo
	$(BIN)/python -m analysis.curves demo

test: setup
	@.ci/programs
	$(PYTEST) -n $(WORKERS)

# the linters beside the tests: most tests wait for processes that they start
check: setup
	@$(MAKE) --no-print-directory -j2 -Otarget lint fast

fast: setup
	$(PYTEST) -n auto -m "not slow"

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/yamllint --strict .

bench: setup
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.grid_wall

docs: setup
	VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --quiet --editable '.[docs]' || $(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

image:
	containers/build.sh $(IMAGE)

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml
	@PYTHON="$(PYTHON)" sh ./venv.sh
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
