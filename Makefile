# The two commands of the README, and the checks.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo demo-data test test-all test-slurm lint install clean

demo: demo-data
	@$(BIN)/python launch/local.py --grid sweeps/demo.yaml

demo-data: $(INSTALLED)
	@$(BIN)/python -m shards.demo --out data/demo
	@$(BIN)/python -m shards.pack --images data/demo/images --labels data/demo/labels --out data/demo/shards

test: $(INSTALLED)
	$(BIN)/python -m pytest

# With those that take minutes: storms of kills, random steps.
test-all: $(INSTALLED)
	$(BIN)/python -m pytest -m 'slow or not slow'

# On a SLURM cluster that is made of this machine for it, which needs root; tests/cluster/README.md.
test-slurm: $(INSTALLED)
	@tests/cluster/up.sh; status=$$?; \
	if [ $$status = 0 ]; then \
		export SLURM_CONF=$${SLURM_ROOT:-/tmp/artnet-slurm}/etc/slurm.conf; \
		$(BIN)/python -m pytest -n0 tests/cluster; status=$$?; \
	fi; \
	tests/cluster/down.sh; exit $$status

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
