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


@pytest.mark.usefixtures("_tables_as_they_were")
@pytest.mark.parametrize("page", ["add_a_measure.md", "own_hamiltonian.md"])
def test_page_says_what_python_says(page):
    lines = (NOTES / page).read_text(encoding="utf-8").splitlines()
    text = "\n".join("" if line.startswith("```") else line for line in lines)
    example = doctest.DocTestParser().get_doctest(text, {}, page, str(NOTES / page), 0)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)
    assert example.examples
