# One word for each thing that a contributor does; `.ci/run` does all of them in an environment of its own.
.PHONY: setup check test slow attack docs

setup:
	python3 -m venv .venv
	.venv/bin/pip install --quiet --upgrade pip
	.venv/bin/pip install --quiet -e ".[test]" --group dev

check:
	ruff check .
	ruff format --check .
	codespell
	mypy --strict gotsurge_async
	pyright gotsurge_async

test:
	python -m pytest

slow:
	python -m pytest -m slow --dist worksteal

attack:
	python -m pytest -m attack -n 0

docs:
	python -m sphinx -q -W -b html docs build/site
