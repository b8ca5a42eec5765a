# Two commands do everything on a fresh Debian machine with Python 3.11 or newer: make report, make test.

CAPTURE = fixtures/captures/seed_connected-d20/bundle.tar.gz
BIN = .venv/bin

.PHONY: report test test-packets test-rest test-apart kernel-soak faults check messages format dist clean

report: ## the main job on a bundled real capture
	@scripts/setup.sh report
	@$(BIN)/diag report --from $(CAPTURE) -o report.html -o report.pdf

PACKETS_SENT = live or random
test: ## every check and test, in three lanes: real packets, where most of the time is waiting, and two of the rest
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line test-packets test-rest test-apart

test-packets: ## what needs an engine or the kernel as judge, one after the other; as root
	$(BIN)/python -m pytest -m "$(PACKETS_SENT)"

test-rest:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/coverage run -m pytest -m "not ($(PACKETS_SENT) or apart)"
	$(BIN)/coverage report

test-apart: ## what coverage would make slow and gains nothing from
	$(BIN)/python -m pytest -m "apart and not ($(PACKETS_SENT))"

PACKETS = 200000
kernel-soak: ## random rules on random hosts until PACKETS real packets were judged; as root
	@scripts/setup.sh test
	$(BIN)/python -m tests.kernel.soak --packets $(PACKETS)

faults: ## everything that may befall a run, and whether the state folder outlives it; as root
	@scripts/setup.sh test
	$(BIN)/python -m tests.history.faults --kills 200 --pairs 50

check: ## the static part only
	@scripts/setup.sh test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: ## the catalogues of other languages, after a text was changed: then say what is new in diag/locale/*/LC_MESSAGES/diag.po
	@scripts/setup.sh test
	$(BIN)/python scripts/messages.py

dist: ## wheel and sdist in dist/
	@scripts/setup.sh test
	$(BIN)/python -m build

clean:
	rm -rf .venv dist build report.html report.pdf .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
