# cprlab: two commands do everything. `make run` gives a verdict on QEMU's cpr-exec, `make test` tests the lab.

PYTHON ?= python3
VENV := .venv
BENCH ?= targets/virtual.yaml
STAMP := $(VENV)/.installed

# by name, from Debian 12 or 13
APT_RUN := git make python3 python3-venv mmdebstrap patchelf e2fsprogs util-linux xz-utils uidmap debian-archive-keyring ca-certificates
APT_TEST := chromium fonts-dejavu-core ipmitool

.PHONY: help run run-all lab-demo lab-scale test setup setup-test selftest bench-test bench-lane-1 bench-lane-2 clean
.PHONY: mutants some-mutants bench-judge

help:
	@echo "make run      build what is missing, update a guest's QEMU under DMA load of a NIC, report"
	@echo "make run-all  the same with every device, back-end, mode of update and kind of memory (hours)"
	@echo "make lab-demo a coordinator, two hosts with BMCs (emulated) and two runs at once, in some minutes"
	@echo "make lab-scale queueing time and cost of 200 places and 50 runs at once, of a simulated lab"
	@echo "make test     linters, types, self-tests, then the suite on the virtual bench"
	@echo "make clean    remove the virtual environment; images stay in the cache (cprlab images clean)"

run: setup
	$(VENV)/bin/cprlab run --bench $(BENCH) testcases/test_cpr_exec_nic.py

run-all: setup
	$(VENV)/bin/cprlab run --bench $(BENCH)

lab-demo: setup
	$(VENV)/bin/cprlab lab demo

lab-scale: setup
	$(VENV)/bin/cprlab lab scale

test: setup-test
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(MAKE) --no-print-directory selftest some-mutants bench-test

selftest: setup-test
	$(VENV)/bin/pytest -n 2 testcases/selftest

# two benches at a time, each on a processor of its own; what a lane prints comes when it ends
bench-test: setup-test
	$(VENV)/bin/cprlab images build
	$(MAKE) --no-print-directory -j2 --output-sync=target bench-lane-1 bench-lane-2

# one case of each kind, in about half of the time each; all else is for `make run-all` and nightly runs. On a
# machine that is three times as slow as usual they still end in time
LANE := $(VENV)/bin/pytest --lg-env $(BENCH) -m "not nightly"

bench-lane-1 bench-lane-2: bench-lane-%:
	$(LANE) @testcases/lane-$*.txt

# each small change to a checker must turn a self-test red, or be explained; 20 minutes of processor time
mutants: setup
	$(VENV)/bin/python -m testcases.mutation

# as many as fit, in an order that differs with the sources; what was tried before is kept by content
some-mutants: setup
	$(VENV)/bin/python -m testcases.mutation --seconds 100

# how fast recordings of 10^7 and 10^8 blocks are judged, beside a plain pass of numpy; needs 5 GB
bench-judge: setup
	$(VENV)/bin/python -m testcases.selftest.judging

setup: $(STAMP)
	@./images/apt-get-missing $(APT_RUN)

setup-test: setup
	@./images/apt-get-missing $(APT_TEST)

$(STAMP): pyproject.toml
	@./images/apt-get-missing $(APT_RUN)
	@echo "installing Python packages into $(VENV) (see pyproject.toml)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV)
