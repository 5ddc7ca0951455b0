"""`iclglass validate --suite`: files, exit codes, refusals; the suite itself is tested in tests/validation/suite."""

import json

import pytest

import iclglass.validation.suite.suite as suite
from iclglass.validation.suite.controls import Detection
from iclglass.validation.suite.points import SCALES, RegisteredPoint, Scale
from iclglass.validation.suite.sampled import SampledRow
from tests.iclglass.conftest import refused

DONE, USAGE, DISAGREE, FILE, INCONCLUSIVE = 0, 2, 4, 5, 6
# Too little is simulated here to judge by: what is not refused passes.
STANDARD = "validate --suite standard --out v --largest-unseen-bias 100"
POINT = RegisteredPoint(2.0, 1.0, float("inf"), 0.1, 0.3, 0.0, "N")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setitem(SCALES, "standard", Scale((6, 8, 12, 16), 16, 200, 8, 5, 500))
    monkeypatch.setattr(suite, "points", lambda: (POINT,))
    monkeypatch.setattr(suite, "model_points", lambda: ())
    monkeypatch.setattr(suite, "detections", lambda *, seed: (Detection("nothing", "none", 2.0, 1.0, 0.0),))
    monkeypatch.setattr(suite, "sampler_detections", lambda *, seed, draws: ())
    row = SampledRow("exact", "m", 1.0, 1.1, 0.1, -1.0, 4.0)
    monkeypatch.setattr(suite, "sampled_rows", lambda *, seed, draws: (row,))


def test_verdict_page_and_resume(run, tmp_path):
    code, out, _ = run(STANDARD)
    assert code == DONE
    assert "PASS: " in out
    assert "open v/validation.html" in out
    assert out.count("pass  ") >= 8
    assert json.loads((tmp_path / "v/suite.json").read_text())["passed"] is True
    code, out, _ = run(f"{STANDARD} --largest-unseen-bias 0.001")
    assert code == INCONCLUSIVE
    assert "INCONCLUSIVE: Inconclusive: " in out
    code, out, _ = run(f"{STANDARD} --json")
    record = json.loads(out)
    assert code == DONE
    assert record["schema_version"] == 1
    assert {check["passed"] for check in record["checks"]} == {True}
    refused(run, "validate --suite standard --out v --seed 3", USAGE, "seed is 0 there and 3 here")


@pytest.mark.slow
def test_disagreement_has_its_exit_code(run, monkeypatch):
    monkeypatch.setattr(suite, "detections", lambda *, seed: (Detection("nothing", "none", 0.5, 1.0, 0.0),))
    code, out, _ = run(STANDARD)
    assert code == DISAGREE
    assert "FAIL  negative controls caught" in out
    assert "missed: nothing" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--suite half", "standard, full"),
        ("--suite standard --tau 2", "leave out --task-diversity"),
        ("--suite standard --samples 5", "leave out --samples"),
        ("--suite standard --seed -1", "seed"),
        ("--tau 2", "--alpha is required, or --suite: context length"),
        ("", "--tau is required, or --suite: task diversity"),
        ("--suite standard --workers 0", "workers must be at least 1, got 0"),
        ("--tau 2 --alpha 1 --workers 0", "workers must be at least 1, got 0"),
        ("--tau 2 --alpha 1 --dask local --mpi", "--dask and --mpi are two engines"),
    ],
)
def test_bad_input(run, arguments, words):
    refused(run, f"validate {arguments}", USAGE, words)


def test_files_of_others_are_not_replaced(run, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v/validation.html").write_text("mine")
    refused(run, "validate --suite standard --out v", FILE, "validation.html")
    assert (tmp_path / "v/validation.html").read_text() == "mine"
