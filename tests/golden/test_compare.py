"""The comparison sees what it is for: every way in which golden and present values can differ."""

import copy

import numpy as np
import pytest

from tests.golden.compare import Tolerance, compare_json, compare_tables, report
from tests.golden.table import Table, load, save

TOLERANCE = Tolerance(relative=1e-12, absolute=1e-12)


def golden():
    return Table(
        {"x": np.array([1.0, 2.0, np.nan])},
        {
            "a": np.array([1.0, np.nan, 1e6]),
            "b": np.array([[1.0, np.inf], [3.0, 4.0], [5.0, 6.0]]),
            "n": np.array([1, 2, 3]),
            "s": np.array(["yes", "no", "yes"]),
        },
    )


def said(now, expected=None):
    differences = compare_tables("section", now, golden(), {}, TOLERANCE)
    return report("section", differences, expected or {})


def changed(name, index, value):
    now = golden()
    now.values[name][index] = value
    return now


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("a", 0, 1 + 1e-11),
        ("a", 2, 1e6 * (1 - 1e-11)),
        ("a", 0, np.nan),
        ("a", 1, 0.0),
        ("a", 1, np.inf),
        ("b", (0, 1), -np.inf),
        ("b", (1, 0), 3.00001),
        ("n", 2, 4),
        ("s", 1, "yes"),
    ],
)
def test_a_changed_value_is_named_with_quantity_point_and_both_values(name, index, value):
    point = index if isinstance(index, int) else index[0]
    text = said(changed(name, index, value))
    assert text.startswith(f"{name} at {('x=1.0', 'x=2.0', '')[point]}: ")
    assert f"golden {golden().values[name][index].item()!r}, now {value!r}" in text


def altered(place=None, name=None, value=None):
    """Of the inputs or the values one column replaced, or removed."""
    now = golden()
    if place and value is None:
        del getattr(now, place)[name]
    elif place:
        getattr(now, place)[name] = value
    return now


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (altered(), ""),
        (changed("a", 0, 1 + 1e-15), ""),  # rounding
        (altered("values", "new", np.zeros(3)), ""),
        (altered("inputs", "new", np.zeros(3)), ""),
        (altered("values", "a"), "a is gone"),
        (altered("values", "n", np.array([1, 2])), "n: golden has shape (3,), now (2,)"),
        (altered("inputs", "x", np.array([1.5, 2.0, np.nan])), "input x is drawn or counted otherwise"),
        (altered("inputs", "x"), "input x: golden has shape (3,), now None"),
    ],
)
def test_what_is_gone_or_of_another_shape_is_a_difference_and_what_is_new_is_none(now, text):
    assert said(now) == text


def test_an_expected_change_is_allowed_and_nothing_else():
    now = changed("a", 0, 2.0)
    assert said(now, {"section.a": "why"}) == ""
    assert said(now, {"section.b": "why"}).startswith("a at x=1.0")
    assert said(now, {"other.a": "why"}).startswith("a at x=1.0")
    assert "take it out" in said(golden(), {"section.a": "why"})  # what does not happen is an error
    assert said(golden(), {"other.a": "why"}) == ""


def test_many_differences_are_counted():
    now = golden()
    now.values["b"] += 1
    now.values["n"] += 1
    now.values["a"] += 1
    now.values["s"][:] = "?"
    assert said(now).endswith("... and 3 more")


def test_a_table_comes_back_from_its_file(tmp_path):
    save(tmp_path / "table.npz", golden())
    save(tmp_path / "again.npz", golden())
    back = load(tmp_path / "table.npz")
    assert said(back) == ""
    assert list(back.inputs) == ["x"]
    assert (tmp_path / "table.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


JSON = {
    "exit_code": 0,
    "json": {
        "m": 0.5,
        "entropy": None,
        "passed": True,
        "count": 3,
        "reason": "3 steps",
        "history": [1.0, 2.0],
        "rows": [{"quantity": "q", "z": 1.0}, {"quantity": "chi", "z": 2.0}],
    },
}


def json_said(change, expected=None):
    now = copy.deepcopy(JSON)
    change(now)
    return report("commands.x", compare_json("commands.x", now, JSON, TOLERANCE), expected or {})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda now: now.update(exit_code=4), "commands.x.exit_code: golden 0, now 4"),
        (lambda now: now["json"].update(m=0.6), "commands.x.json.m: golden "),
        (lambda now: now["json"].update(m=None), "commands.x.json.m: golden 0.5, now None"),
        (lambda now: now["json"].update(m=True), "commands.x.json.m: golden 0.5, now True"),
        (lambda now: now["json"].update(entropy=0.0), "commands.x.json.entropy: golden None, now 0.0"),
        (lambda now: now["json"].update(passed=None), "commands.x.json.passed: golden True, now None"),
        (lambda now: now["json"].update(count=4), "commands.x.json.count: golden 3, now 4"),
        (lambda now: now["json"].pop("m"), "commands.x.json.m is gone (golden 0.5)"),
        (lambda now: now["json"]["history"].append(3.0), "commands.x.json.history.length: golden 2, now 3"),
        (lambda now: now["json"]["rows"][1].update(z=2.1), "commands.x.json.rows.chi.z: golden "),
        (lambda now: now["json"]["rows"].pop(0), "commands.x.json.rows.q is gone"),
    ],
)
def test_json_that_differs_is_named(change, text):
    assert json_said(change).startswith(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda now: None,
        lambda now: now["json"].update(new=1, reason="4 steps"),
        lambda now: now["json"]["rows"].insert(0, {"quantity": "e_icl", "z": 0.0}),
        lambda now: now["json"].update(m=0.5 + 1e-16),
    ],
)
def test_new_keys_other_words_and_rounding_are_no_difference(change):
    assert json_said(change) == ""


def test_an_expected_change_of_many_commands_is_one_entry():
    def change(now):
        now["json"]["m"] = 0.6

    assert json_said(change, {"commands.*.json.m": "why"}) == ""
    assert "take it out" in json_said(lambda now: None, {"commands.*.json.m": "why"})
