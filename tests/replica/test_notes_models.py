"""Pages of notes/ that show models are run as they stand."""

import doctest
from pathlib import Path

import pytest

from iclglass.replica.losses import LOSSES
from iclglass.replica.measures import MEASURES, PENALTIES

NOTES = Path(__file__).resolve().parents[2] / "notes"


@pytest.fixture
def _tables_as_they_were():
    tables = (LOSSES, MEASURES, PENALTIES)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


SLOW_FROM = {"own_hamiltonian.md": "## 3."}
"""Headings from which pages solve and simulate."""


def lines_of(page):
    """The page without its fences, of which doctest knows nothing."""
    lines = (NOTES / page).read_text(encoding="utf-8").splitlines()
    return ["" if line.startswith("```") else line for line in lines]


def run(page, lines):
    example = doctest.DocTestParser().get_doctest("\n".join(lines), {}, page, str(NOTES / page), 0)
    assert example.examples
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


@pytest.mark.usefixtures("_tables_as_they_were")
@pytest.mark.parametrize("page", ["add_a_measure.md", "own_hamiltonian.md"])
def test_page_says_what_python_says(page):
    lines = lines_of(page)
    if page in SLOW_FROM:
        lines = lines[: next(n for n, line in enumerate(lines) if line.startswith(SLOW_FROM[page]))]
    run(page, lines)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["glass.md", "models.md", "own_hamiltonian.md"])
def test_page_that_solves_says_what_python_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, lines_of(page))
