# Requires Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

# Without bytecode each process that the tests start would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-image test-pythons check docs screenshots format lock image bench bench-live clean

run: $(VENV)/run
	@$(BIN)/transcribed serve

test: $(VENV)/dev
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# With Python 3.12 and 3.13, if they are found.
test-pythons: $(VENV)/dev
	@$(BIN)/python tests/pythons.py $(TESTS)

# Requires Docker or podman; takes some minutes.
test-image: $(VENV)/dev
	@$(BIN)/python -m pytest -m image tests/image

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/docs

docs: $(VENV)/dev
	$(BIN)/python docs/generate.py

# Requires chromium.
screenshots: $(VENV)/dev
	$(BIN)/python docs/screenshots.py

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Only this changes versions. The files contain no URL, so that any index can serve them. After a change of the
# dependencies in pyproject.toml, `make lock UPGRADE=` changes no other versions.
UPGRADE := --upgrade
LOCK = $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --python-version $(1) $(UPGRADE)
# Packages that are not used in the image: they build the networks, or are dependencies of such packages.
NOT_IN_THE_IMAGE := colorama ml-dtypes moonshine-cpp moonshine-voice onnx protobuf sounddevice tqdm
# Dependencies of pipecat-ai that speech to text does not need: nearly half of what it installs.
NOT_FOR_PIPECAT := llvmlite numba

lock: $(BIN)/uv
	$(call LOCK,3.11) --extra build --extra amazon --extra postgresql pyproject.toml -o requirements/run.txt
	$(call LOCK,3.11) --extra build --extra amazon --extra postgresql --extra otel --extra dev -c requirements/run.txt \
	  pyproject.toml -o requirements/dev.txt
	$(call LOCK,3.11) --extra amazon --extra postgresql -c requirements/run.txt \
	  $(NOT_IN_THE_IMAGE:%=--no-emit-package %) pyproject.toml -o requirements/image.txt
	$(call LOCK,3.11) --group pyproject.toml:image -c requirements/run.txt --no-emit-package numpy \
	  -o requirements/image-build.txt
	$(call LOCK,3.11) tests/clients/python_awslabs/requirements.in -o tests/clients/python_awslabs/requirements.txt
	$(call LOCK,3.11) tests/clients/python_boto3/requirements.in -o tests/clients/python_boto3/requirements.txt
	$(call LOCK,3.11) tests/clients/python_vosk/requirements.in -o tests/clients/python_vosk/requirements.txt
	$(call LOCK,3.11) tests/clients/python_openai/requirements.in -o tests/clients/python_openai/requirements.txt
	$(call LOCK,3.11) tests/clients/python_litellm/requirements.in -o tests/clients/python_litellm/requirements.txt
	$(call LOCK,3.11) tests/clients/python_livekit/requirements.in -o tests/clients/python_livekit/requirements.txt
	$(call LOCK,3.11) $(NOT_FOR_PIPECAT:%=--no-emit-package %) tests/clients/python_pipecat/requirements.in \
	  -o tests/clients/python_pipecat/requirements.txt
	$(call LOCK,3.12) tests/clients/python_smithy/requirements.in -o tests/clients/python_smithy/requirements.txt
	cd tests/clients/javascript && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "transcribed needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/run: requirements/run.txt pyproject.toml | $(BIN)/uv
	@echo "Setting up $(VENV) (once)"
	@$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes -r requirements/run.txt
	@$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml | $(BIN)/uv
	@echo "Setting up $(VENV) (once)"
	@$(BIN)/uv pip sync -q -p $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/run

image: $(BIN)/uv
	@$(BIN)/python docker/build.py

# SPEECH is a folder of recordings with a manifest.jsonl, which bench/README.md describes.
bench: $(VENV)/dev
	@test -n "$(SPEECH)" || { echo "Say where the recordings are: make bench SPEECH=FOLDER"; exit 2; }
	$(BIN)/python bench/files.py $(SPEECH)
	$(BIN)/python bench/accuracy.py $(SPEECH)

# Takes half an hour; the machine should be idle otherwise. Other servers and the aligner are installed in bench/.peers, once.
bench-live: $(VENV)/dev
	@test -n "$(SPEECH)" || { echo "Say where the recordings are: make bench-live SPEECH=FOLDER"; exit 2; }
	$(BIN)/python bench/live/peers.py
	test -f bench/results/words.json || $(BIN)/python bench/live/align.py $(SPEECH)
	$(BIN)/python bench/live $(SPEECH) --overload 2 --json bench/results/live.json \
	  --server transcribed:1,8,16,24,32,40 --server whisperlive:1,2 --server whisperlivekit:1,2
	$(BIN)/python bench/live/front.py --search --json bench/results/front.json

clean:
	rm -rf $(VENV) build dist
