# make demo | make test | make ui | make lint | make bench | make soak
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
PEERS  := .venv-peers
export PYTHONWARNINGS ?= default
export MYPYPATH := $(VENV)/typing
export MEDSHARD_ROOT ?= data
export DAGSTER_HOME := $(CURDIR)/.dagster

.PHONY: help install demo test ui lint format peers bench soak clean

help:
	@echo "make demo   the whole chain on real scans, then demo/report.html"
	@echo "make test   the tests"
	@echo "make ui     the Dagster UI over the demo's store"
	@echo "make lint   ruff, mypy and the catalog;  make format rewrites"
	@echo "make bench  speed and fidelity against peers;  make soak the long runs"

install: $(STAMP)

# The stamp is newer than what decides the environment, so a second install costs nothing.
$(STAMP): pyproject.toml constraints.txt $(wildcard */*_kernel*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
	  { echo "medshard needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python -m venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt --no-build-isolation -e '.[all,dev]' \
	  | grep -v 'already satisfied' || true
	@$(BIN)/python -c 'import medshard, torch, dagster'
	@mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/medshard
	@touch $(STAMP)

demo: install
	@mkdir -p $(DAGSTER_HOME) && cp pipelines/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/medshard demo

test: install
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

ui: install
	@mkdir -p $(DAGSTER_HOME) && cp pipelines/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/dagster dev -m medshard.pipelines.definitions -h 127.0.0.1 -p $(or $(PORT),3000)

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/medshard check && $(BIN)/medshard format --check

format: install
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/medshard format
	$(BIN)/medshard schema --output catalog.schema.json

# Peers to compare with: an environment of its own that also sees the packages of medshard's.
peers: $(PEERS)/installed

$(PEERS)/installed: benchmarks/peers/requirements.txt $(STAMP)
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' >$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/medshard.pth
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/requirements.txt
	@touch $@

bench: install peers
	$(BIN)/python benchmarks/data_plane.py --root $(MEDSHARD_ROOT) --json data-plane.json --figure data-plane.png
	$(BIN)/python benchmarks/catalog_load.py
	$(BIN)/python benchmarks/download.py
	$(BIN)/python benchmarks/unpack.py
	$(BIN)/python benchmarks/convert_nifti.py
	$(BIN)/python benchmarks/convert_dicom.py
	$(BIN)/python benchmarks/convert_scaling.py
	$(BIN)/python benchmarks/convert_pictures.py
	$(BIN)/python benchmarks/convert_memory.py --side 600 --in-memory

soak: install
	$(BIN)/python -m pytest -q -s -m soak --timeout 7200 $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) $(PEERS) data demo .dagster
