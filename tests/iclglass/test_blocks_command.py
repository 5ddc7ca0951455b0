"""``iclglass instance --blocks``: the same means as in memory, resumable, on workers; what does not go with it."""

import json
from pathlib import Path

import numpy as np
import psutil
import pytest

from iclglass import load_solution, solve_instance
from iclglass.numerics.running.state import KeptState
from iclglass.validation.prompt_blocks import PromptBlocks
from tests.iclglass.conftest import refused

LAW = "--dimension 6 --context 12 --prompts 90 --rho 0.2 --norm N+1 --seed 3 --ridge0 0.02 --beta 50"
BLOCKS = f"instance --blocks {LAW}"
AGREEMENT = 1e-11
"""Both solves stop at a relative residual of 1e-12; A is well conditioned here."""


def test_means_are_those_of_the_whole_data_set_in_memory(run):
    code, out, _ = run(f"{BLOCKS} --out b.nc --json")
    record = json.loads(out)
    assert code == 0
    assert record["status"] == "converged"
    source = PromptBlocks(dimension=6, context=12, prompts=90, label_noise=0.2, norm="N+1", seed=3)
    whole = solve_instance(source.whole(), ridge0=0.02, beta=50, method="exact")
    np.testing.assert_allclose(load_solution("b.nc").mean, whole.mean, rtol=0, atol=AGREEMENT)
    assert record["m"] == pytest.approx(np.trace(whole.mean[:6, :6]) / 6, abs=AGREEMENT)
    assert set(record["theory"]) >= {"m", "q", "e_icl", "e_train"}


def test_a_solve_that_was_cut_short_goes_on_from_its_file(run):
    code, _, _ = run(f"{BLOCKS} --max-iterations 20 --out cut.nc")
    assert code == 3
    first = load_solution("cut.nc")
    assert first.status.name == "NOT_CONVERGED"
    code, out, _ = run(f"{BLOCKS} --start cut.nc --json")
    assert code == 0
    _, whole, _ = run(f"{BLOCKS} --json")
    again, anew = json.loads(out), json.loads(whole)
    assert again["iterations"] < anew["iterations"]
    assert again["e_icl"] == pytest.approx(anew["e_icl"], abs=AGREEMENT)


def test_an_interrupted_solve_goes_on_with_the_same_command(run, monkeypatch):
    whole = run(f"{BLOCKS} --json")[1]
    calls = []

    def stops(self, state):
        calls.append(len(state.history))
        keep(self, state)
        if len(calls) == 12:
            raise KeyboardInterrupt

    keep = KeptState.keep
    with monkeypatch.context() as patched:
        patched.setattr(KeptState, "keep", stops)
        code, _, err = run(f"{BLOCKS} --out b.nc")
        assert code == 130
        assert "what was finished is kept in b.nc.checkpoint" in err
    assert sorted(path.name for path in Path().iterdir()) == ["b.nc.checkpoint"]
    code, _, err = run(f"{BLOCKS} --ridge0 0.03 --out b.nc")
    assert code == 2
    assert "of other parameters: ridge0 is 0.02 there and 0.03 here" in err
    with monkeypatch.context() as patched:
        patched.setattr(KeptState, "keep", lambda self, state: calls.append(len(state.history)))
        code, out, err = run(f"{BLOCKS} --out b.nc --json")
    assert (code, out) == (0, whole)
    assert "going on from b.nc.checkpoint" in err
    assert calls == list(range(1, len(calls) + 1))  # no step was done twice
    assert sorted(path.name for path in Path().iterdir()) == ["b.nc"]


def test_force_begins_anew(run):
    Path("b.nc.checkpoint").write_text("something else")
    code, _, err = run(f"{BLOCKS} --out b.nc")
    assert code == 5
    assert "b.nc.checkpoint is not an unfinished solve" in err
    assert run(f"{BLOCKS} --out b.nc --force")[0] == 0


def test_workers_change_nothing(run):
    outputs = [run(f"{BLOCKS} {more}")[1] for more in ("", "--workers 1")]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_two_processes_change_nothing(run):
    outputs = [run(f"{BLOCKS} {more}")[1] for more in ("", "--workers 2")]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["--dask local", ""], ids=["dask", "processes"])
def test_a_killed_worker_costs_a_task_on_dask_and_a_second_start_on_processes(run, monkeypatch, engine):
    if engine:
        pytest.importorskip("distributed")
    whole = run(f"{BLOCKS} --json")[1]
    killed = []

    def kills(self, state):
        keep(self, state)
        if len(state.history) == 5 and not killed:
            children = psutil.Process().children(recursive=True)
            killed.append(next(child for child in children if any("spawn_main" in part for part in child.cmdline())))
            killed[0].kill()

    keep = KeptState.keep
    monkeypatch.setattr(KeptState, "keep", kills)
    command = f"{BLOCKS} --workers 2 {engine} --out b.nc --json"
    code, out, err = run(command)
    assert killed
    if not engine:
        assert code == 3
        assert "a worker died during a pass" in err
        assert Path("b.nc.checkpoint").exists()
        code, out, err = run(command)
        assert "going on from b.nc.checkpoint" in err
    assert (code, out) == (0, whole), err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("instance --blocks --context 12 --prompts 90 --ridge0 0.02 --beta 50", "--dimension is required"),
        (f"{BLOCKS} --float32", "--float32 needs the data set in memory"),
        (f"{BLOCKS} --data x.npz", "--data needs the data set in memory"),
        (f"{BLOCKS} --method tap", "solves by conjugate gradients"),
        (f"{BLOCKS} --workers 0", "workers must be at least 1"),
        (f"{BLOCKS} --out b.txt", "must end in .nc"),
        (f"{BLOCKS} --probes 1", "probes"),
        (f"instance {LAW} --workers 2", "--workers needs --blocks"),
        (f"instance {LAW} --start b.nc", "--start needs --blocks"),
    ],
)
def test_what_does_not_go_with_it_is_refused(run, line, message):
    refused(run, line, 2, message)


def test_a_start_that_is_no_solution_is_refused(run, tmp_path):
    (tmp_path / "no.nc").write_text("no")
    assert run(f"{BLOCKS} --start no.nc")[0] == 5
    assert run(f"{BLOCKS} --start absent.nc")[0] == 5
    run("sweep", "--tau", "1", "--alpha", "1", "--out", "sweep.nc")
    code, _, err = run(f"{BLOCKS} --start sweep.nc")
    assert code == 5
    assert "holds no solution" in err
