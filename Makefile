# Few targets; `make help` lists them. Everything lives in .venv and .local; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APPROVAL ?=
export APPROVAL
FROM = $(if $(PACKAGE),--package .local/package)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Ctrl-C at any moment is one line and exit code 130. An interpreter that is just starting would print a traceback, so it starts
# in the background, where it ignores Ctrl-C, and this shell ends it by SIGTERM, which is silent until the program listens. Make
# waits twice for one child, and fails, if its child has ended before it handles the same Ctrl-C: so the shell stays a moment.
stay = (trap "" INT TERM HUP; sleep 0.3)
interruptible = $(1) & child=$$!; trap 'kill -TERM $$child 2>/dev/null' INT TERM HUP; \
	{ wait $$child; code=$$?; while kill -0 $$child; do wait $$child; code=$$?; done; } 2>/dev/null; \
	if [ $$code -eq 143 ]; then echo "stopped; nothing is left running"; code=130; fi; \
	if [ $$code -eq 130 ]; then $(stay); fi; exit $$code

SUITABLE := 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, found " + sys.version.split()[0])'

FOUND := 'import json, sys; n = json.load(open("mutants/mutmut-cicd-stats.json")); \
	found, all_ = n["killed"] + n["timeout"], n["total"]; print(f"found {found} of {all_} mutants"); \
	sys.exit(0 if found >= 0.9 * all_ > 0 else "fewer than nine of ten were found")'

.DEFAULT_GOAL := help
.PHONY: help setup demo up package deploy-folder deploy check test coverage model mutants proof bench lock documents clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@log=$$(mktemp) || exit 1; \
	trap 'rm -f "$$log"; echo "set-up was stopped; make setup goes on where it was" >&2; $(stay); exit 130' INT TERM HUP; \
	echo "Setting up $(VENV) from requirements/dev.txt (a minute or two, once) ..."; \
	{ $(PYTHON) -c $(SUITABLE) && { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); } \
		&& $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt \
		&& $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; } 2>"$$log" \
		|| { cat "$$log" >&2; rm -f "$$log"; exit 1; }; \
	rm -f "$$log"
	@touch $@

.local/ros/.ready: requirements/ros.txt | $(VENV)/.ready
	@rm -rf .local/ros
	@$(BIN)/python -m pip download --quiet --no-deps --require-hashes --dest .local/ros --requirement requirements/ros.txt
	@touch $@

.local/browser/.ready: $(wildcard requirements/browser/*) requirements/browser/.npmrc tests/browser/install.py | $(VENV)/.ready
	@$(BIN)/python -m tests.browser.install
	@touch $@

setup: $(VENV)/.ready ## Create the virtual environment with hash-locked requirements

demo: setup ## Run the main job on the local cloud and explain it (APPROVAL=file: send that one only; PACKAGE=1: from the package)
	@$(call interruptible,$(BIN)/python -m examples.demo $(FROM) $(if $(APPROVAL),--only --approval "$$APPROVAL"))

up: setup ## Keep the local cloud and the functions running, for playing by hand; Ctrl-C ends everything
	@$(call interruptible,$(BIN)/python -m examples.demo $(FROM) --stay)

package: setup ## Build what is deployed, for the runtime and not for this machine, in .local/package, and check it
	@$(call interruptible,$(BIN)/python -m deploy.package)

deploy-folder: setup ## Lay the package out in .local/deploy and write .local/s.yaml
	@$(BIN)/python -m deploy.folder

deploy: setup ## Deploy that with Serverless Devs (s), no secret is printed or logged (FIRST=yes: the very first time)
	@$(BIN)/python -m deploy.apply $(if $(FIRST),--first)

check: setup ## Lint, types, import contracts, generated documents
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m cli schemas --check
	@$(BIN)/python -m cli openapi --check
	@$(BIN)/python -m cli errors --check
	@$(BIN)/python -m cli settings --check
	@$(BIN)/python -m deploy.alarms --check
	@$(BIN)/python -m deploy.templates --check

test: setup .local/ros/.ready .local/browser/.ready ## Run all tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

coverage: setup .local/ros/.ready .local/browser/.ready ## The same with the coverage of what is deployed, which takes half as long again
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 3 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

model: setup ## The life cycle's model test at length: 100,000 steps (ten minutes)
	@$(BIN)/python -m tests.chaos.model --steps 100000

mutants: setup ## Change each line of the rules, see which changes no unit test notices (half an hour)
	@$(BIN)/mutmut run
	@$(BIN)/mutmut results
	@$(BIN)/mutmut export-cicd-stats >/dev/null
	@$(BIN)/python -c $(FOUND)

proof: setup ## The long proofs over the wire: schedules, storm, every crash point, the desk's API (an hour)
	@$(BIN)/python -m tests.chaos.wire --schedules 200
	@$(BIN)/python -m tests.chaos.storm
	@$(BIN)/python -m tests.chaos.crash
	@DESK_EXAMPLES=5000 $(BIN)/pytest -q -n 3 tests/functional/test_desk_api.py

bench: setup ## What is claimed about speed: cold start, local cloud, ledger, the gate, its proof, throughput, reconcile, quotas, a long history, doctor, the desk, its page
	@$(BIN)/python -m bench.coldstart
	@$(BIN)/python -m bench.localcloud
	@$(BIN)/python -m bench.ledger
	@$(BIN)/python -m bench.gate
	@$(BIN)/python -m bench.verify
	@$(BIN)/python -m bench.throughput
	@$(BIN)/python -m bench.reconcile
	@$(BIN)/python -m bench.quota
	@$(BIN)/python -m bench.history
	@$(BIN)/python -m bench.doctor
	@$(BIN)/python -m bench.desk
	@$(BIN)/python -m bench.page

lock: setup ## Lock the requirements again, with hashes, for Python 3.11 to 3.13
	@for part in functions dev; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links --output-file requirements/$$part.txt requirements/$$part.in; \
	done
	@$(BIN)/uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --output-file requirements/ros.txt requirements/ros.in

documents: setup ## Write what is generated: JSON Schemas, the desk's OpenAPI, seals, tables of errors, settings and alarms, templates
	@$(BIN)/python -m cli schemas
	@$(BIN)/python -m cli openapi
	@$(BIN)/python -m tests.vectors
	@$(BIN)/python -m cli errors --write
	@$(BIN)/python -m cli settings --write
	@$(BIN)/python -m deploy.alarms
	@$(BIN)/python -m deploy.templates

clean: ## Remove the virtual environment and everything generated
	rm -rf $(VENV) .local mutants *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
