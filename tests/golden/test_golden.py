"""The present program gives the golden values."""

import difflib
import json
from pathlib import Path

import pytest

from tests.golden import commands
from tests.golden.compare import compare_json, compare_tables, report
from tests.golden.expected_changes import EXPECTED_CHANGES
from tests.golden.sections import JSON, JSON_OF_FORMULAS, SECTIONS
from tests.golden.table import load

DATA = Path(__file__).parent / "data"
GOLDEN_JSON = json.loads((DATA / "commands.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SECTIONS)
def test_values_are_as_before(name):
    section = SECTIONS[name]
    differences = compare_tables(name, section.compute(), load(DATA / f"{name}.npz"), section.own, section.tolerance)
    said = report(name, differences, EXPECTED_CHANGES)
    assert not said, said


@pytest.mark.parametrize(
    "name",
    [name if name in commands.QUICK else pytest.param(name, marks=pytest.mark.slow) for name in commands.COMMANDS],
)
def test_json_is_as_before(name):
    path = f"commands.{name}"
    tolerance = JSON_OF_FORMULAS if name.startswith("solve") else JSON
    differences = compare_json(path, commands.run(name), GOLDEN_JSON[name], tolerance)
    said = report(path, differences, EXPECTED_CHANGES)
    assert not said, said


@pytest.mark.slow
def test_derivation_is_as_before():
    before = (DATA / "derivation.txt").read_text(encoding="utf-8")
    now = commands.derivation()
    changed = list(difflib.unified_diff(before.splitlines(), now.splitlines(), lineterm="", n=0))
    assert bool(changed) == ("derivation" in EXPECTED_CHANGES), "\n".join(changed[:20])


def test_every_golden_value_is_compared():
    assert {path.stem for path in DATA.glob("*.npz")} == set(SECTIONS)
    assert set(GOLDEN_JSON) == set(commands.COMMANDS)


def test_every_expected_change_is_about_something():
    known = {*SECTIONS, "commands", "derivation"}
    assert [path for path in EXPECTED_CHANGES if path.split(".")[0] not in known] == []


def test_golden_values_came_from_committed_sources():
    provenance = json.loads((DATA / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["sources_changed"] is False
    assert len(provenance["git_revision"]) == 40
