# The verbs of the house. `make demo` and `make test` install whatever they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation

# The one list of Debian packages. First what the product and its checks need, then the lab's.
DEBIAN_PACKAGES := \
    python3 python3-venv python3-dev gcc libc6-dev pkg-config libvirt-dev sanlock python3-sanlock \
    openssh-client openssh-server iproute2 util-linux procps chromium fonts-dejavu-core \
    postgresql busybox-static \
    mmdebstrap cpio xorriso isolinux syslinux-common kmod bindfs fuse3 nftables systemd-container \
    socat file xz-utils

.PHONY: help install debian-packages check format lint types imports tidy test scenarios kill-everywhere bench demo demo-down \
    lab-up lab-down docs constraints clean

help: ## Say what there is.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

debian-packages:
	@missing=$$(for p in $(DEBIAN_PACKAGES); do \
	    [ "$$(dpkg-query -W -f '$${Status}' $$p 2>/dev/null)" = "install ok installed" ] || echo $$p; \
	done); \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
	    echo "make: not root, so these Debian packages stay missing (what needs them is skipped):"; \
	    echo "    apt-get install --no-install-recommends" $$missing; \
	else \
	    echo "make: installing Debian packages:" $$missing; \
	    apt-get update -q >/dev/null; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing >/dev/null; \
	fi

# libvirt-python is built here, with the pinned setuptools, against libvirt's headers; without them (and without root to install
# them) the rest is installed, and what needs libvirt is skipped.
# The sanlock binding comes from the distribution only: a link to that one file makes it visible.
$(STAMP): pyproject.toml constraints.txt
	@[ -x $(BIN)/python ] || { py=$$(command -v python3.11 || command -v python3); \
	    $$py -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' \
	    || { echo "make: Python 3.11 or newer is needed, found $$($$py -V)"; exit 1; }; \
	    $$py -m venv $(VENV); }
	@echo "make: installing Python packages (constraints.txt)"
	@only() { awk -v want=$$1 '/^[a-z]/ { is = /^libvirt-python==/ } is == want' constraints.txt; }; \
	pins=$$(mktemp); only 0 > $$pins; $(PIP) --require-hashes -r $$pins; \
	if pkg-config --exists libvirt 2>/dev/null; then only 1 > $$pins; $(PIP) --require-hashes -r $$pins; \
	else echo "make: libvirt's headers are missing; going on without libvirt-python"; fi; \
	rm -f $$pins
	@$(PIP) -e .
	@for binding in /usr/lib/python3/dist-packages/sanlock.cpython-*.so; do \
	    [ ! -e "$$binding" ] || ln -sf "$$binding" $(VENV)/lib/python3.*/site-packages/; done
	@touch $@

install: debian-packages $(STAMP) ## Install Debian packages and the Python environment.

check: install lint types imports ## Style, types and import rules.
	@$(BIN)/python -m pytest -q tests/tidy

lint:
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . || { echo "make: try 'make format'"; exit 1; }

format: install ## Format the code.
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

types:
	@$(BIN)/mypy

imports:
	@$(BIN)/lint-imports

test: install ## Run every test (the lab's too, where it can run).
	@$(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder

scenarios: install ## Write the logs of the simulator's scenarios anew; read what changed.
	@$(BIN)/python -m tests.scenarios_update

test-all: install ## Also the tests that `make test` leaves out for time.
	@TESTS=all $(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder

kill-everywhere: install ## Kill every runbook at each single point of its journal (hours).
	@RUNBOOKS_KILL=all $(BIN)/python -m pytest -n 2 tests/flows/test_killed_everywhere.py tests/on_simulator/test_killed.py
	@RUNBOOKS_KILL=all $(BIN)/python -m pytest -s tests/lab/test_kill_everywhere.py

bench: install ## Measure bytes, processor time, memory, waits; takes minutes, judges nothing.
	@$(BIN)/python -m tests.bench

demo: install ## Break a three-host cluster as in the Howto and repair it by the runbook.
	@$(BIN)/python -m tests.lab.demo up

demo-down: install ## Take down what `make demo` left up.
	@$(BIN)/python -m tests.lab.demo down

lab-up: install ## Boot three hosts, deploy, start the engine stand-in.
	@$(BIN)/python -m tests.lab up && $(BIN)/python -m tests.lab deploy

lab-down: install ## Take the lab down.
	@$(BIN)/python -m tests.lab down

docs: install ## Regenerate the generated pages.
	@$(BIN)/python -m runbooks.pages
	@$(BIN)/python -m ha.statedoc

# Everything that pyproject.toml names, its dependencies and the build tools, with hashes and no URL.
constraints: install ## Pin anew: the newest versions that work together today.
	@tools=$$(mktemp -d); /usr/bin/python3 -m venv $$tools; $$tools/bin/pip install -q pip-tools; \
	$$tools/bin/pip-compile -q --generate-hashes --strip-extras --allow-unsafe --all-extras \
	    --all-build-deps --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host \
	    --no-emit-find-links --upgrade -o constraints.txt pyproject.toml; rm -rf $$tools; \
	printf '%s\n' '# Made by `make constraints`.' | cat - constraints.txt > $(VENV)/pins; \
	mv $(VENV)/pins constraints.txt

clean: ## Remove the Python environment.
	@rm -rf $(VENV)
