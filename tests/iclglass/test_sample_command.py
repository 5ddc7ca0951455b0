"""`iclglass sample`: numbers, files, refusals, exit codes."""

import json

import numpy as np
import pytest

import iclglass
from iclglass.validation.samplers import chains
from iclglass.validation.samplers.law import boltzmann_law

DONE, USAGE, NOT_CONVERGED, FILE = 0, 2, 3, 5
DRAWN = ["sample", "--dimension", "5", "--context", "10", "--prompts", "60", "--seed", "3"]
SAMPLED = [*DRAWN, "--ridge0", "0.05", "--beta", "20"]


@pytest.mark.parametrize("method", ["exact", "hmc", "heat-bath"])
def test_json_beside_the_exact_values(run, method):
    code, out, _ = run(*SAMPLED, "--method", method, "--json")
    record = json.loads(out)
    data = iclglass.draw_prompts(dimension=5, context=10, prompts=60, rng=np.random.default_rng(3))
    law = boltzmann_law(data, ridge0=0.05, beta=20.0)
    assert code == DONE
    assert record["converged"] is True
    assert record["ground_energy"] == pytest.approx(law.ground_energy, rel=1e-10)
    checks = {row["name"]: row for row in record["checks"]}
    assert checks["energy above ground state"]["exact"] == pytest.approx(30 / 40)
    assert checks["norm"]["exact"] == pytest.approx(law.expectations()["norm"])
    assert all(row["passed"] for row in record["checks"])
    assert [row["name"] for row in record["diagnostics"]][:3] == ["energy", "m", "norm"]
    assert record["parameters"]["method"] == method


def test_text_files_and_a_data_set_of_ones_own(run):
    code, out, err = run(*SAMPLED, "--method", "hmc", "--out", "s.nc", "--plot", "s.png")
    assert code == DONE
    assert "wrote s.nc, s.png" in err
    for word in ("R-hat", "energy above ground state", "smallest bias seen", "bound", "agree"):
        assert word in out
    stored = iclglass.load("s.nc")
    assert stored["weights"].shape == (4, 1000, 6, 5)
    assert float(stored["norm"][2, 7]) == pytest.approx(float(np.sum(stored["weights"][2, 7] ** 2)))
    assert run(*SAMPLED, "--out", "s.nc")[0] == FILE
    data = iclglass.draw_prompts(dimension=5, context=10, prompts=60, rng=np.random.default_rng(3))
    iclglass.save_instance(data, "d.npz")
    own = ["sample", "--data", "d.npz", "--ridge0", "0.05", "--beta", "20", "--json"]
    code, out, _ = run(*own)
    drawn = json.loads(run(*SAMPLED, "--json", "--seed", "0")[1])
    assert code == DONE
    assert json.loads(out)["parameters"]["data"] == "d.npz"
    assert drawn["parameters"]["seed"] == 0


def test_a_biased_sampler_is_told(run, monkeypatch):
    code, out, _ = run(*SAMPLED, "--method", "langevin", "--step", "0.25", "--draws", "1000")
    assert code == NOT_CONVERGED
    assert "equipartition is violated" in out
    assert "mala" in out
    monkeypatch.setattr(chains, "accepted", lambda change, beta, rng: np.ones(change.shape, dtype=bool))
    code, out, _ = run(*SAMPLED, "--method", "hmc", "--draws", "2000", "--json")
    record = json.loads(out)
    assert code == NOT_CONVERGED
    assert record["converged"] is False
    assert "not the Boltzmann measure: energy above ground state" in record["reason"]


def test_chains_that_have_not_met_are_told(run):
    options = ("--method", "mala", "--step", "0.001", "--warmup", "0", "--thin", "1", "--draws", "50")
    code, out, _ = run(*SAMPLED, *options)
    assert code == NOT_CONVERGED
    assert "not converged: R-hat of" in out
    assert "more draws" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sample", "--ridge0", "1", "--beta", "1"], USAGE, "--dimension is required, or --data"),
        ([*DRAWN, "--beta", "1"], USAGE, "--ridge0 is required"),
        ([*DRAWN, "--ridge0", "nan", "--beta", "1"], USAGE, "ridge0 must be"),
        ([*DRAWN, "--ridge0", "1", "--beta", "0"], USAGE, "beta must be"),
        ([*SAMPLED, "--method", "nuts"], USAGE, "'nuts'"),
        ([*SAMPLED, "--draws", "0"], USAGE, "draws must be at least 4"),
        ([*SAMPLED, "--chains", "1"], USAGE, "chains must be at least 2 (R-hat compares chains)"),
        ([*SAMPLED, "--step", "0.1"], USAGE, "takes no step"),
        ([*SAMPLED, "--method", "langevin", "--step", "5"], USAGE, "diverges"),
        ([*SAMPLED, "--method", "hmc", "--step", "5"], USAGE, "2/sqrt(L)"),
        ([*SAMPLED, "--method", "hmc", "--step", "0"], USAGE, "step must be"),
        ([*SAMPLED, "--seed", "-1"], USAGE, "seed must be"),
        ([*SAMPLED, "--out", "a.csv"], USAGE, "must end in .nc"),
        ([*SAMPLED, "--plot", "a.xyz"], USAGE, "a.xyz"),
        ([*SAMPLED, "--data", "a.npz"], USAGE, "--dimension, --context, --prompts"),
        (["sample", "--data", "a.npz", "--ridge0", "1", "--beta", "1"], FILE, "a.npz"),
        ([*DRAWN[:5], "--prompts", "9", "--ridge0", "0", "--beta", "1"], USAGE, "normalised"),
    ],
)
def test_bad_input(run, arguments, code, words):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert words in err
