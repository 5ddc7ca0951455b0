"""``iclglass instance --blocks``: the same means as in memory, resumable, on workers; what does not go with it."""

import json

import numpy as np
import pytest

from iclglass import load_solution, solve_instance
from validation.prompt_blocks import PromptBlocks

LAW = ("--dimension", "6", "--context", "12", "--prompts", "90", "--rho", "0.2", "--norm", "N+1", "--seed", "3")
MEASURE = ("--ridge0", "0.02", "--beta", "50")
AGREEMENT = 1e-11
"""Both solves stop at a relative residual of 1e-12; A is well conditioned here."""


def test_means_are_those_of_the_whole_data_set_in_memory(run):
    code, out, _ = run("instance", "--blocks", *LAW, *MEASURE, "--out", "b.nc", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["status"] == "converged"
    source = PromptBlocks(dimension=6, context=12, prompts=90, label_noise=0.2, norm="N+1", seed=3)
    whole = solve_instance(source.whole(), ridge0=0.02, beta=50, method="exact")
    np.testing.assert_allclose(load_solution("b.nc").mean, whole.mean, rtol=0, atol=AGREEMENT)
    assert record["m"] == pytest.approx(np.trace(whole.mean[:6, :6]) / 6, abs=AGREEMENT)
    assert set(record["theory"]) >= {"m", "q", "e_icl", "e_train"}


def test_a_solve_that_was_cut_short_goes_on_from_its_file(run):
    code, _, _ = run("instance", "--blocks", *LAW, *MEASURE, "--max-iterations", "20", "--out", "cut.nc")
    assert code == 3
    first = load_solution("cut.nc")
    assert first.status.name == "NOT_CONVERGED"
    code, out, _ = run("instance", "--blocks", *LAW, *MEASURE, "--start", "cut.nc", "--json")
    assert code == 0
    _, whole, _ = run("instance", "--blocks", *LAW, *MEASURE, "--json")
    again, anew = json.loads(out), json.loads(whole)
    assert again["iterations"] < anew["iterations"]
    assert again["e_icl"] == pytest.approx(anew["e_icl"], abs=AGREEMENT)


def test_workers_change_nothing(run):
    outputs = [run("instance", "--blocks", *LAW, *MEASURE, *more)[1] for more in ((), ("--workers", "1"))]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_two_processes_change_nothing(run):
    outputs = [run("instance", "--blocks", *LAW, *MEASURE, *more)[1] for more in ((), ("--workers", "2"))]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blocks", *LAW[2:], *MEASURE), "--dimension is required with --blocks"),
        (("--blocks", *LAW, *MEASURE, "--float32"), "--float32 needs the data set in memory"),
        (("--blocks", *LAW, *MEASURE, "--data", "x.npz"), "--data needs the data set in memory"),
        (("--blocks", *LAW, *MEASURE, "--method", "tap"), "solves by conjugate gradients"),
        (("--blocks", *LAW, *MEASURE, "--workers", "0"), "workers must be at least 1"),
        (("--blocks", *LAW, *MEASURE, "--out", "b.txt"), "must end in .nc"),
        (("--blocks", *LAW, *MEASURE, "--probes", "1"), "probes"),
        ((*LAW, *MEASURE, "--workers", "2"), "--workers needs --blocks"),
        ((*LAW, *MEASURE, "--start", "b.nc"), "--start needs --blocks"),
    ],
)
def test_what_does_not_go_with_it_is_refused(run, options, message):
    code, out, err = run("instance", *options)
    assert code == 2, err
    assert message in err
    assert not out


def test_a_start_that_is_no_solution_is_refused(run, tmp_path):
    (tmp_path / "no.nc").write_text("no")
    assert run("instance", "--blocks", *LAW, *MEASURE, "--start", "no.nc")[0] == 5
    assert run("instance", "--blocks", *LAW, *MEASURE, "--start", "absent.nc")[0] == 5
    run("sweep", "--tau", "1", "--alpha", "1", "--out", "sweep.nc")
    code, _, err = run("instance", "--blocks", *LAW, *MEASURE, "--start", "sweep.nc")
    assert code == 5
    assert "holds no solution" in err
