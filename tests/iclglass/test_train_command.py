"""`iclglass train`: numbers against the library, files, resumption, refusals, exit codes."""

import json

import numpy as np
import pytest

import iclglass
from iclglass.numerics.instance import spin_glass
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.learning_curve import learning_curve
from iclglass.validation.training import train

DONE, USAGE, NOT_CONVERGED, FILE = 0, 2, 3, 5
DRAWN = ["train", "--dimension", "6", "--context", "12", "--prompts", "90", "--seed", "3", "--rho", "0.1"]
TRAINED = [*DRAWN, "--ridge0", "0.02", "--steps", "400", "--learning-rate", "0.2"]


def drawn(rng):
    return iclglass.draw_prompts(dimension=6, context=12, prompts=90, label_noise=0.1, rng=rng)


def test_numbers_are_those_of_the_library(run):
    code, out, _ = run(*TRAINED, "--json")
    record = json.loads(out)
    rng = np.random.default_rng(3)
    data = drawn(rng)
    expected = train(data, steps=400, learning_rate=0.2, ridge0=0.02, rng=rng)
    assert code == DONE
    assert record["status"] == "completed"
    assert record["energy"] == expected.energy[-1]
    assert record["e_train"] == expected.train_error[-1]
    assert record["stable_rate"] == expected.stable_rate
    assert record["history"]["steps"] == expected.steps.tolist()
    least = spin_glass.energy(data, ground_state(data, 0.02), 0.02)
    assert record["ground_energy"] == pytest.approx(least, rel=1e-10)
    flow = learning_curve(
        time=400 * 0.2 / 6,
        task_diversity=90 / 36,
        context_length=2.0,
        label_noise=0.1,
        ridge=6 * 0.02,
        initial_overlap=1.0,
    )
    assert record["gradient_flow"]["e_icl"] == pytest.approx(flow.e_icl, rel=1e-14)
    assert record["e_icl"] == pytest.approx(record["gradient_flow"]["e_icl"], rel=0.5)
    assert record["e_icl"] == pytest.approx(record["theory"]["e_icl"], rel=0.3)


def test_text_names_everything(run):
    code, out, err = run(*TRAINED, "--tolerance", "0.01")
    assert (code, err) == (DONE, "")
    for word in ("optimiser        gd", "gradient flow", "ground_energy", "stable_rate", "status           converged"):
        assert word in out


@pytest.mark.parametrize(
    "options",
    [
        ["--parametrisation", "separate"],
        ["--optimiser", "sgd", "--batch", "30"],
        ["--optimiser", "adam", "--learning-rate", "0.01"],
    ],
)
def test_other_layers_and_optimisers(run, options):
    code, out, _ = run(*TRAINED, *options, "--json")
    record = json.loads(out)
    assert code == DONE
    assert record["history"]["energy"][-1] < 0.7 * record["history"]["energy"][0]
    assert record["gradient_flow"] == {}
    separate = "separate" in options
    assert (record["ground_energy"] is None) == (record["theory"] == {}) == separate  # its ridge is another one
    if not separate:
        assert record["energy"] > record["ground_energy"]


def test_a_run_resumes_and_refuses_other_parameters(run):
    code, first, err = run(*TRAINED, "--out", "r.npz", "--plot", "r.png", "--json")
    assert code == DONE
    assert "wrote r.npz, r.png" in err
    code, second, _ = run(*TRAINED, "--out", "r.npz", "--json")
    assert code == DONE
    assert first == second
    code, _, err = run(*TRAINED, "--out", "r.npz", "--ridge0", "0.03")
    assert code == USAGE
    assert "ridge0 is 0.02 there and 0.03 here" in err
    assert run(*TRAINED, "--out", "r.npz", "--ridge0", "0.03", "--force")[0] == DONE
    assert run(*TRAINED, "--plot", "r.png")[0] == FILE


def test_a_data_set_of_the_user(run):
    data = drawn(np.random.default_rng(1))
    np.savez("d.npz", context=data.context, query=data.query, label=data.label)
    own = ["train", "--data", "d.npz", "--ridge0", "0.02", "--steps", "50", "--learning-rate", "0.2"]
    code, out, _ = run(*own, "--plot", "p.png", "--json")
    record = json.loads(out)
    assert code == DONE
    assert record["e_icl"] is None
    assert record["gradient_flow"] == record["theory"] == {}
    assert record["parameters"]["prompts"] == 90


def test_a_rate_beyond_the_bound_is_reported_with_it(run):
    code, out, _ = run(*TRAINED, "--learning-rate", "50", "--out", "r.npz", "--plot", "r.png", "--json")
    record = json.loads(out)
    assert code == NOT_CONVERGED
    assert record["status"] == "diverges"
    assert f"{record['stable_rate']:.6g}" in record["reason"]
    assert all(np.isfinite(record["history"]["energy"]))
    code, out, _ = run(*TRAINED, "--parametrisation", "separate", "--learning-rate", "50")
    assert code == NOT_CONVERGED
    assert "2/L" in out
    assert "nan" not in out


def test_a_tolerance_not_reached(run):
    code, out, _ = run(*TRAINED, "--tolerance", "1e-14")
    assert code == NOT_CONVERGED
    assert "not converged" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--ridge0", "1", "--steps", "1", "--learning-rate", "1"], USAGE, "--dimension is required, or"),
        ([*DRAWN, "--steps", "1", "--learning-rate", "1"], USAGE, "--ridge0 is required"),
        ([*TRAINED, "--steps", "0"], USAGE, "steps must be at least 1"),
        ([*TRAINED, "--learning-rate", "0"], USAGE, "learning_rate must be"),
        ([*TRAINED, "--ridge0", "-1"], USAGE, "ridge0 must be"),
        ([*TRAINED, "--optimiser", "lion"], USAGE, "'lion'"),
        ([*TRAINED, "--optimiser", "sgd"], USAGE, "needs batch"),
        ([*TRAINED, "--parametrisation", "joint"], USAGE, "'joint'"),
        ([*TRAINED, "--seed", "-1"], USAGE, "seed must be"),
        ([*TRAINED, "--out", "r.nc"], USAGE, "must end in .npz"),
        ([*TRAINED, "--out", "no/r.npz"], FILE, "no is not a folder"),
        ([*TRAINED, "--plot", "a.xyz"], USAGE, "a.xyz"),
        ([*TRAINED, "--data", "d.npz"], USAGE, "which describe one to draw"),
        (["train", "--data", "d.npz", *TRAINED[11:]], FILE, "d.npz"),
    ],
)
def test_bad_input(run, arguments, code, words):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_a_foreign_file_is_refused(run, tmp_path):
    (tmp_path / "r.npz").write_bytes(b"other")
    code, _, err = run(*TRAINED, "--out", "r.npz")
    assert code == FILE
    assert "r.npz" in err
    assert (tmp_path / "r.npz").read_bytes() == b"other"
