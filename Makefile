# `make` lists the targets. Each target installs its requirements.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := layers/common:.
export SAM_CLI_TELEMETRY := 0

# The local stack
PORT ?= 3000
DYNAMODB ?= moto
DOCKER ?=
SIGN_IN ?=
WEBHOOK ?=
PARAMETERS ?=
# A token. USER is used only if it is set on make's command line, because every shell sets it
TTL ?= 86400
# Deployment
ENV ?= default
# `sam build` needs the functions' Python version in PATH, with pip, and must not use this PYTHONPATH.
PYTHON_OF_FUNCTIONS ?= $(firstword $(wildcard /usr/bin/python3.13) $(shell command -v python3.13))
SAM = env -u PYTHONPATH PATH="$(abspath $(VENV))/sam/bin:$$PATH" $(VENV)/sam/bin/sam
# Processes that run the tests
WORKERS ?= auto
# The benchmarks
QUICK ?=
ONLY ?=
# The simulation
N ?= 1000
SEED ?= 1
JOBS ?= 2
# The exploration
MINUTES ?= 90
# Schemathesis
EXAMPLES ?= 2000
# The locks
UPGRADE ?=

INSTALL = install --quiet --disable-pip-version-check --require-hashes
# The client is not a wheel and has no hash. The lock contains its requirements, including its build backend.
INSTALL_CLIENT = install --quiet --disable-pip-version-check --no-deps --no-build-isolation --check-build-dependencies --editable clients/python
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes --annotation-style line $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

up: $(VENV)/serves ## Serve the API on localhost, seeded (PORT=3000, DYNAMODB=moto|local|URL, DOCKER=1 for real containers, SIGN_IN=1 to sign in at a provider, WEBHOOK=URL to receive events)
	@PORT=$(PORT) DYNAMODB=$(DYNAMODB) DOCKER=$(DOCKER) SIGN_IN=$(SIGN_IN) WEBHOOK='$(WEBHOOK)' PARAMETERS='$(PARAMETERS)' exec $(BIN)/python -m local serve

admin: $(VENV)/serves ## Set up the administration commands, and list them
	@$(BIN)/python -m admin --help

token: $(VENV)/serves ## Print a token for the running local API (USER=operator, TTL=86400; PORT selects one of several stacks)
	@$(BIN)/python -m local token --user $(if $(filter command,$(origin USER)),$(USER),operator) --ttl $(TTL)

test: $(VENV)/ready ## Run the tests (without Java, tests that need it are skipped)
	$(BIN)/pytest --ignore tests/e2e --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

e2e: $(VENV)/ready ## Run the end-to-end tests: SAM CLI, real Lambda containers, real Docker tasks
	tests/e2e/run.sh

simulate: $(VENV)/ready ## Run callers, events and sweeps against faults on a virtual clock (N=1000, SEED=1)
	cd tests && $(abspath $(BIN))/python -m simulation --runs $(N) --seed $(SEED) --jobs $(JOBS)

simulate-mutants: $(VENV)/ready ## Remove each safeguard of the invariants, and check that the simulation notices
	cd tests && $(abspath $(BIN))/python -m simulation.mutants --jobs $(JOBS)

mutate: $(VENV)/ready ## Run the tests against mutants of the engine: 90 % must be found (N=200, SEED=1, JOBS=2)
	cd tests && $(abspath $(BIN))/python -m mutation --mutants $(if $(filter command environment,$(origin N)),$(N),200) --seed $(SEED) --jobs $(JOBS)

explore: $(VENV)/ready ## Check the protocol's model with Spin, then run every interleaving of two actors, with a bounded number of faults (MINUTES=90; QUICK=1: the parts in CI)
	cd tests && $(abspath $(BIN))/python -m protocol --jobs $(JOBS) $(if $(QUICK),--quick)
	cd tests && $(abspath $(BIN))/python -m exploration --minutes $(MINUTES) --jobs $(JOBS) $(if $(QUICK),--quick)

bench: $(VENV)/ready $(VENV)/sam/ready ## Run the benchmarks, and write docs/performance.md (QUICK=1 only checks that they run; ONLY=cold,warm,...)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

build: $(VENV)/sam/ready ## Build the functions and the layer
	$(SAM) build

validate: $(VENV)/ready $(VENV)/sam/ready ## Validate the template with SAM CLI, and the translated template with cfn-lint
	$(SAM) validate --lint
	$(SAM) validate
	$(BIN)/pytest -q tests/template/test_template.py

deploy: build ## Deploy to AWS (ENV=default, dev or prod of samconfig.toml)
	$(SAM) deploy --config-env $(ENV)

openapi: $(VENV)/ready ## Generate openapi.yaml, docs/errors.md and the client's error catalogue from the code
	$(BIN)/python -m reference

fuzz: $(VENV)/ready ## Send valid and invalid requests, generated from openapi.yaml, to the local stack (EXAMPLES=2000 per operation)
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -v -rP tests/reference/test_fuzz.py --show-capture=stdout

lint: $(VENV)/ready ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy layers/common/longshore layers/common/builder functions/*/app.py local admin pages reference clients/python/src benchmarks/*.py benchmarks/children tests/*.py tests/*/*.py
	$(BIN)/lint-imports --no-logo

format: $(VENV)/ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The order matters: the versions in the first three files agree.
lock: $(VENV)/ready ## Write each requirements.txt from its requirements.in (UPGRADE=1 also upgrades indirect requirements)
	$(LOCK) --python-version 3.13 --output-file layers/common/requirements.txt layers/common/requirements.in
	$(LOCK) --python-version 3.13 --no-deps --output-file functions/pages/requirements.txt functions/pages/requirements.in
	$(LOCK) --python-version 3.11 --output-file local/requirements.txt local/requirements.in
	$(LOCK) --python-version 3.11 --output-file requirements.txt requirements.in
	$(LOCK) --python-version 3.13 --output-file tests/e2e/requirements.txt tests/e2e/requirements.in
	$(LOCK) --python-version 3.11 --output-file tests/template/requirements-checkov.txt tests/template/requirements-checkov.in

check: lint test ## Run the checks of a pull request

checkov: $(VENV)/checkov/ready ## Install checkov, which a test runs

installed: $(VENV)/ready $(VENV)/sam/ready $(VENV)/checkov/ready ## Install the requirements of all checks (in parallel with -j)

clean: ## Remove installed packages, downloads and caches
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .aws-sam .import_linter_cache

# Run again when the requirements change.
$(VENV)/serves: local/requirements.txt clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Installing into $(VENV) (once; about half a minute)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip $(INSTALL) --requirement local/requirements.txt >&2
	@$(BIN)/pip $(INSTALL_CLIENT) >&2
	@touch $@

$(VENV)/ready: $(VENV)/serves requirements.txt
	@echo "Installing the requirements of the tests (once; about half a minute)" >&2
	@$(BIN)/pip $(INSTALL) --requirement requirements.txt >&2
	@touch $@

# SAM CLI and checkov require other versions than the project, so each has its own virtual environment.
$(VENV)/sam/ready: tests/e2e/requirements.txt
	@test -n "$(PYTHON_OF_FUNCTIONS)" || { echo "Python 3.13 is needed: the functions run on it" >&2; exit 2; }
	@echo "Installing SAM CLI into $(VENV)/sam (once; about half a minute)" >&2
	@$(PYTHON_OF_FUNCTIONS) -m venv $(VENV)/sam
	@$(VENV)/sam/bin/pip $(INSTALL) --requirement $< >&2
	@touch $@

$(VENV)/checkov/ready: tests/template/requirements-checkov.txt
	@$(PYTHON) -m venv $(VENV)/checkov
	@$(VENV)/checkov/bin/pip $(INSTALL) --requirement $< >&2
	@touch $@

.PHONY: help up token test e2e bench build validate deploy openapi fuzz simulate simulate-mutants explore mutate lint format lock check checkov installed clean admin
