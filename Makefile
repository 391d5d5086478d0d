# Every target sets up .venv by itself; all it needs is make and Python 3.11 or newer.
# Another interpreter: make test PYTHON=/path/to/python

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
JUNIT := build/junit.xml
DEMO := out/demo
# Exit status of a selection without tests: a mistake, but there need not be slow ones.
NONE := 5

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-fuzz test-gpu check format bench clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.base  ## simulate an embedded workload on an A100 and write a report
	@$(BIN)/servetwin simulate --model meta-llama/Llama-3.1-8B --gpu A100-80GB \
	  --workload azure-conv --requests 5000 --slo ttft=2s,tpot=100ms --out $(DEMO)
	@echo
	@echo "Open  $(DEMO)/report.html   the report, in any browser"
	@echo "      $(DEMO)/summary.json  every figure, the settings and where they come from"
	@echo "Next  docs/tutorial/first-run.md explains what you see"

test: $(VENV)/.dev  ## all tests but the slow ones, in some minutes
	@$(MAKE) --no-print-directory pytest SELECT='not slow and not fuzz'

test-slow: $(VENV)/.dev  ## the tests that take ten seconds or more each
	@$(MAKE) --no-print-directory pytest SELECT='slow and not fuzz' NONE=0

test-fuzz: $(VENV)/.dev  ## thousands of malformed inputs for every reader
	@$(MAKE) --no-print-directory pytest SELECT='fuzz'

test-gpu: $(VENV)/.dev  ## the tests that need PyTorch and a CUDA device (pip install torch first)
	@$(MAKE) --no-print-directory pytest SELECT='gpu' NONE=0

.PHONY: pytest
pytest:
	@mkdir -p build && rm -f $(JUNIT)
	@$(BIN)/python -m pytest -q -m "$(SELECT)" --junitxml=$(JUNIT); status=$$?; \
	  if [ $$status -eq 5 ]; then status=$(NONE); fi; \
	  $(BIN)/python .ci/count_tests.py $(JUNIT); exit $$status

check: $(VENV)/.dev  ## style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev  ## rewrite the source in the one accepted style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.dev  ## how fast the simulator is on this machine
	@$(BIN)/python -m benchmarks

clean:  ## remove everything that make and servetwin created here
	rm -rf $(VENV) build out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The interpreter is sought and the packages are installed once; a stamp remembers it.
$(BIN)/python:
	@python=$$(sh .ci/find-python "$(PYTHON)") && \
	  echo "Setting up $(VENV) with $$python" && "$$python" -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing servetwin into $(VENV) (once)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing servetwin and its test tools into $(VENV) (once)"
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.base $@
