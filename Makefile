# The two commands of the README, and the checks.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint install clean

demo: $(INSTALLED)
	@$(BIN)/python -m shards.demo --out data/demo
	@$(BIN)/python -m shards.pack --images data/demo/images --labels data/demo/labels --out data/demo/shards
	@$(BIN)/python launch/local.py --grid sweeps/demo.yaml

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

# The marker is written last, so that an install that was cut off is done again.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'error: Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e '.[dev]'
	@touch $(INSTALLED)

clean:
	rm -rf .venv data/demo runs/demo
