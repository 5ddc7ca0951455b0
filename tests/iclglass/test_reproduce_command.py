"""`iclglass reproduce`: verdict lines, JSON, exit codes, refusals."""

import json

import pytest

import iclglass.validation.paper.reproduce as module
from iclglass.numerics.errors import MissingExtraError
from iclglass.validation.paper.catalogue import FIGURES
from iclglass.validation.paper.figure import Judged, Verdict
from iclglass.validation.paper.judging import compared

DONE, USAGE, DISAGREE, FILE, INCONCLUSIVE = 0, 2, 4, 5, 6


@pytest.fixture
def unseen():
    """The bias that the check of fig-3 could not have seen."""
    return {"fig-3": 0.1}


@pytest.fixture
def reproduce(run, monkeypatch, unseen):
    """The command with a stand-in for the work: (exit code, stdout, stderr, what was asked for)."""
    asked = []

    def stand_in(name, **options):
        asked.append((name, options))
        return Verdict(
            f"found {name}",
            (compared("m", 1.0, 2.0, 0.5),),
            (Judged("m", name == "fig-2", 0.1 if name != "fig-3" else unseen["fig-3"]),),
            ("a remark",),
            options["largest_unseen_bias"],
        )

    monkeypatch.setattr(module, "reproduce", stand_in)

    def command(line):
        asked.clear()
        return *run(f"reproduce {line}"), list(asked)

    return command


def test_one_line_of_verdict(reproduce):
    code, out, err, asked = reproduce("fig-s1 --seed 3 --scale full --workers 2")
    assert code == DONE
    assert out == "fig-S1  agrees    found fig-S1\n"
    assert "a remark" in err
    assert asked[0][0] == "fig-S1"
    assert (asked[0][1]["scale"], asked[0][1]["seed"]) == ("full", 3)
    assert (asked[0][1]["executor"].name, asked[0][1]["executor"].workers) == ("processes", 2)


def test_a_figure_that_could_not_have_seen_an_error_is_inconclusive(reproduce, unseen):
    unseen["fig-3"] = 0.4
    code, out, _, _ = reproduce("fig-3")
    assert code == INCONCLUSIVE
    assert out.startswith(
        "fig-3   ?         Inconclusive: a bias of more than 25 % could have stayed unseen in m (40 %); "
    )
    code, out, _, _ = reproduce("fig-3 --json")
    assert json.loads(out)["figures"]["fig-3"]["agrees"] is None
    assert reproduce("fig-3 --largest-unseen-bias 0.5")[0] == DONE
    # one that disagrees outweighs it
    assert reproduce("all --out o")[0] == DISAGREE
    assert reproduce("fig-3 --largest-unseen-bias 0")[0] == USAGE


def test_all_with_a_disagreement(reproduce, tmp_path):
    code, out, _, asked = reproduce("all --json --out o")
    record = json.loads(out)
    assert code == DISAGREE
    assert [name for name, _ in asked] == list(FIGURES) == list(record["figures"])
    assert len({id(options["executor"]) for _, options in asked}) == 1  # its workers are started once
    assert record["figures"]["fig-1"]["rows"][0]["z"] == -2.0
    account = (tmp_path / "o/reproduction.md").read_text(encoding="utf-8")
    assert account.count("**disagrees with our theory**") == 1
    for name in FIGURES:
        assert f"\n## {name}: " in account
        assert f"Found {name}." in account
    assert account.count("| m | 1 | 2 | 0.5 | -2.0 |") == len(FIGURES)
    assert account.count("- a remark") == len(FIGURES)
    # one figure leaves the account of all alone
    assert reproduce("fig-1 --out o")[0] == DONE
    assert (tmp_path / "o/reproduction.md").read_text(encoding="utf-8") == account


def test_a_missing_package_skips_its_figure_of_all_only(reproduce, tmp_path, monkeypatch):
    usual = module.reproduce

    def without_torch(name, **options):
        if name == "fig-S8":
            raise MissingExtraError("needs PyTorch: pip install 'iclglass[torch]'")
        return Verdict("", (), (Judged("m", False, 0.1),)) if name == "fig-2" else usual(name, **options)

    monkeypatch.setattr(module, "reproduce", without_torch)
    code, out, err, _ = reproduce("all --json --out o")
    record = json.loads(out)
    assert code == DONE
    assert [*record["figures"], "fig-S8"] == list(FIGURES)
    assert list(record["skipped"]) == ["fig-S8"]
    assert err.count("pip install 'iclglass[torch]'") == 1
    account = (tmp_path / "o/reproduction.md").read_text(encoding="utf-8")
    assert account.count("pip install 'iclglass[torch]'") == 1
    assert "\n## fig-S8: " not in account
    code, _, err, _ = reproduce("fig-S8 --out p")
    assert code == USAGE
    assert err.count("pip install 'iclglass[torch]'") == 1
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("line", "wanted", "words"),
    [
        ("fig-9", USAGE, ("fig-1", "fig-S8")),
        ("fig-1 --scale huge", USAGE, ("quick",)),
        ("fig-1 --seed -1", USAGE, ("seed must be",)),
        ("fig-1 --dask local --mpi", USAGE, ("two engines",)),
        ("fig-1 --workers 0", USAGE, ("iclglass: error: workers must be at least 1, got 0",)),
        ("fig-1 --published .", FILE, ("fig-S1/data-a/alphas.npy",)),
    ],
)
def test_refusals_before_any_work(reproduce, tmp_path, line, wanted, words):
    code, _, err, asked = reproduce(line)
    assert (code, asked) == (wanted, [])
    assert all(word in err for word in words)
    assert list(tmp_path.iterdir()) == []
