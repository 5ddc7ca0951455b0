"""The model chosen on the command line: what is printed, written and refused."""

import json

import numpy as np
import pytest

import iclglass
from iclglass.numerics.storage import PROVENANCE
from tests.iclglass.conftest import refused
from tests.numerics import stand_in

POINT = "--tau 2 --alpha 4"


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("iclglass.numerics.handshake.solve_model", stand_in.solve_model)


def typed(run, text):
    return run(*text.split())


def test_solve_prints_the_model_where_it_is_not_the_default(run):
    code, out, err = typed(run, f"solve {POINT} --l1 0.5 --loss huber --huber-threshold 2 --temperature 1")
    assert (code, err) == (0, "")
    shown = {line.split()[0]: line.split()[1] for line in out.splitlines() if line}
    assert [shown[name] for name in ("l1", "loss", "huber_threshold", "ridge")] == ["0.5", "huber", "2", "0"]
    assert {"test_loss", "density"} <= set(shown)
    assert not {"spins", "labels", "spacing", "rank"} & set(shown)
    code, out, _ = typed(run, f"solve {POINT}")
    assert not {"l1", "loss", "test_loss"} & {line.split()[0] for line in out.splitlines() if line}


def test_solve_as_json(run):
    code, out, err = typed(run, f"solve {POINT} --labels sign --lam 0.3 --temperature 1 --json")
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert (record["parameters"]["labels"], record["parameters"]["ridge"]) == ("sign", 0.3)
    assert record["e_icl"] is None
    assert record["error_rate"] == pytest.approx(1.25)
    assert set(json.loads(typed(run, f"solve {POINT} --json")[1])["parameters"]) == {
        *("task_diversity", "context_length", "distinct_tasks", "label_noise", "ridge", "temperature"),
        "test_context_length",
    }


def test_an_unstable_point_keeps_its_numbers_and_is_said_on_stderr(run):
    code, out, err = typed(run, f"solve {POINT} --spins binary --json")
    assert code == 0
    assert "replica symmetry is unstable" in err
    record = json.loads(out)
    assert record["status"].startswith("replica symmetry is unstable")
    assert record["replicon"] == -0.5
    code, _, err = typed(run, "sweep --tau 1.5:3:4 --alpha 4 --spins ternary --spacing 2 --out a.nc")
    assert code == 0
    assert "4 of 4 points: replica symmetry is unstable" in err


def test_sweeps_diagrams_and_a_configuration_file_take_models(run, tmp_path):
    (tmp_path / "run.toml").write_text('loss = "absolute_error"\nl1 = "0:1:3"\nhuber-threshold = 1.35\n')
    code, _, err = typed(run, "sweep --tau 2 --alpha 4 --temperature 1 --config run.toml --out a.nc --plot a.png")
    assert code == 0, err
    found = iclglass.load("a.nc")
    assert found.l1.values.tolist() == [0, 0.5, 1]
    assert json.loads(found.attrs[PROVENANCE])["parameters"]["loss"] == "absolute_error"
    code, out, err = typed(
        run, "phase-diagram --tau 1.5:3:4 --temperature 0.2:1:4 --alpha 4 --spins binary --line at --out b.nc"
    )
    assert (code, out.splitlines()[0]) == (0, "line at: 6 points in 1 parts"), (out, err)
    lines = iclglass.PhaseDiagram.from_dataset(iclglass.load("b.nc")).lines
    np.testing.assert_allclose(lines[0].parts[0] @ [0.25, -1.0], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"solve {POINT} --loss hinge", "loss = 'hinge' does not go with labels = 'linear'"),
        (f"solve {POINT} --loss mse", "loss must be one of squared_error, absolute_error, huber, log_loss, hinge"),
        (f"solve {POINT} --l1 -1", "l1 = -1.0 must be finite and >= 0"),
        (f"solve {POINT} --spins binary --spacing 0", "spacing = 0.0 must be finite and > 0"),
        (f"solve {POINT} --l1 x", "--l1 'x' is not a number"),
        (f"solve {POINT} --nuclear 1 --dimension 8", "nuclear at a dimension needs last_row = False"),
        (f"solve {POINT} --l1 1 --dimension 3", "dimension = 3 must be a whole number >= 4"),
        (f"solve {POINT} --l1 1 --temperature 1 --digits 20", "--digits goes without this model: at T > 0"),
        (f"solve {POINT} --spins binary --digits 20", "--digits goes without this model: spins = 'binary'"),
        (f"solve {POINT} --nuclear 1 --digits 20", "--digits goes without this model: the law of singular values"),
        (f"solve {POINT} --ansatz 1rsb --loss huber", "ansatz = '1rsb' is for squared error"),
        (
            f"validate {POINT} --ansatz 1rsb --spins binary --temperature 0.5",
            "ansatz = '1rsb' is not judged by simulation",
        ),
        (f"sweep {POINT} --l1 1 --kappa 2 --out a.nc", "a finite distinct_tasks does not go with this model"),
        ("phase-diagram --tau 1:2:2 --l1 0:1:2 --alpha 1 --line crossover --out a.nc", "is of ridge and squared error"),
        ("derive --loss hinge", "loss = 'hinge' does not go with labels = 'linear'"),
        ("derive --spins binary --l1", "l1 does not go with spins = 'binary'"),
        (f"sweep {POINT} --dimension 8 --l1 1 --simulate training --out a.nc", "road 'training' is for ridge"),
        (f"sweep {POINT} --dimension 8 --spins binary --simulate --out a.nc", "the ground state of spins = 'binary'"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(run, tmp_path, command, message):
    refused(run, command, 2, message)
    assert not list(tmp_path.iterdir())


def test_derive_derives_the_model_that_was_chosen(run, monkeypatch):
    asked = []

    class Derivation:
        stages = ()

        def __init__(self, model=None):
            asked.append(model)

    monkeypatch.setattr("iclglass.replica.derivation.derive", Derivation)
    for command in ("derive", "derive --l1 --loss huber", "derive --spins ternary --labels sign"):
        assert typed(run, command)[0] == 0
    default, lasso, ternary = asked
    assert default is None
    assert {symbol.name for symbol in lasso.strengths} == {"lam", "l1", "huber_threshold"}
    assert (ternary.spins, ternary.labels) == ("ternary", "sign")


def test_a_default_command_imports_no_sympy(run):
    from tests.iclglass.conftest import process

    code = (
        "import sys\nfrom iclglass.cli import main\n"
        "assert main(['solve', '--tau', '2', '--alpha', '1']) == 0\nassert 'sympy' not in sys.modules"
    )
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
