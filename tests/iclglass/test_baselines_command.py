"""iclglass baselines: its table, grids and JSON."""

import json

import pytest

import iclglass


def test_table_and_json_hold_the_numbers_of_the_function(run):
    found = iclglass.baselines(context_length=[[0.5], [2.0]], label_noise=[0.1, 1.0])
    call = ("baselines", "--alpha", "0.5:2:2", "--rho", "0.1:1:2")
    code, out, _ = run(*call, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["axes"] == ["context_length", "label_noise"]
    assert told["ridge"]["e_icl"] == found.ridge.e_icl.tolist()
    assert told["parameters"]["distinct_tasks"] == "inf"
    code, out, _ = run(*call)
    assert code == 0
    assert len(out.splitlines()) == 5
    assert f"{found.ridge.e_icl[1, 0]:.6g}" in out.splitlines()[3]


def test_a_dimension_brings_standard_errors(run):
    code, out, _ = run("baselines", "--alpha", "1", "--kappa", "0.5", "--rho", "0.1", "--dimension", "6")
    assert code == 0
    assert " +- " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--context-length is required"),
        (("--alpha", "1", "--labels", "sign"), "the posterior mean of tasks"),
        (("--alpha", "-1"), "context_length = -1"),
    ],
)
def test_what_is_wrong_is_said(run, arguments, words):
    code, _, err = run("baselines", *arguments)
    assert code == 2
    assert words in err


def test_sweeps_are_drawn_with_baselines_beside(run, tmp_path):
    call = ("sweep", "--tau", "2", "--alpha", "0.5:4:3", "--rho", "0.1", "--out", "a.nc", "--baselines")
    code, _, err = run(*call, "--plot", "a.png")
    assert code == 0
    assert err.endswith("wrote a.nc, a.png\n")
    for change, words in (
        (("--plot", "b.png", "--force", "--observable", "m"), "--baselines has e_icl and e_idg, not m"),
        (("--plot", "b.png", "--force", "--kappa", "1:2:2"), "over one axis, not 2"),
        (("--force",), "give --plot"),
    ):
        code, _, err = run(*call, *change)
        assert code == 2
        assert words in err


def test_the_lines_are_those_of_the_function():
    from iclglass.cli.baselines import drawn_beside
    from iclglass.numerics.plotting import draw_sweep

    law = {"task_diversity": 2.0, "context_length": [0.5, 1.0, 2.0], "distinct_tasks": 1.0, "label_noise": 0.1}
    lines = drawn_beside(law, "e_idg")
    found = iclglass.baselines(**law)
    assert [line.tolist() for line in lines.values()] == [found.ridge.e_idg.tolist(), found.dmmse.e_idg.tolist()]
    figure = draw_sweep(iclglass.sweep(**law), observable="e_idg", beside=lines)
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert drawn[1:3] == [line.tolist() for line in lines.values()]
    assert len(figure.legends) == 1
