# Everything that a fresh machine with Python 3.11 and make needs: `make demo`, `make up`, `make test`.

PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed

.PHONY: protos setup demo up test soak lint screenshots sandbox-wheel bench lock clean

setup: $(READY) .env

$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $(READY)

# Fresh keys for this checkout. Keep them: what was encrypted with a lost key cannot be read again.
.env: | $(READY)
	umask 077; $(RUN) -m sfsync.keys --env > .env

# Always from nothing, in a folder of its own.
demo: setup
	rm -rf .sfsync/demo
	SFSYNC_DATA=.sfsync/demo $(RUN) manage.py demo $(ARGS)

# The same without demo data, in .sfsync; it asks for the first user.
up: setup
	$(RUN) manage.py up $(ARGS)

test: $(READY)
	$(RUN) -m tests $(ARGS)

# Two thousand jobs with random settings, edits and kills, each held against a model. New ones each time.
soak: $(READY)
	SFSYNC_SOAK=2000 $(RUN) -m tests tests/jobs/test_model.py -n 0 --timeout=0 $(ARGS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) manage.py makemigrations --check --dry-run

# Each page of the demo, by a real browser; needs Chromium.
screenshots: setup
	$(RUN) -m tests.browser.screenshots $(ARGS)

# The sandbox as a package of its own, into dist/.
sandbox-wheel: $(READY)
	$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist packaging/sandbox

bench: setup
	$(RUN) -m benchmarks.million $(ARGS)
	$(RUN) -m benchmarks.ten_million
	$(RUN) -m benchmarks.preview

# After a change of pyproject.toml.
lock:
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv==0.13.9
	build/lock/bin/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

# The Pub/Sub API's messages, from its definition file.
protos: setup
	cd sandbox/events && ../../$(VENV)/bin/python -m grpc_tools.protoc -I. --python_out=. pubsub_api.proto

clean:
	rm -rf .sfsync build .pytest_cache .mypy_cache .ruff_cache
