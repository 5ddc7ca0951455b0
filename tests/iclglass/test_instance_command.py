"""`iclglass instance`: numbers against the library, files, refusals, exit codes."""

import json

import numpy as np
import pytest

import iclglass
from iclglass.validation.observables import measure

DONE, USAGE, NOT_CONVERGED, FILE = 0, 2, 3, 5
DRAWN = ["instance", "--dimension", "6", "--context", "12", "--prompts", "400", "--seed", "3", "--rho", "0.1"]
SOLVED = [*DRAWN, "--ridge0", "0.02", "--beta", "50"]


def drawn():
    return iclglass.draw_prompts(dimension=6, context=12, prompts=400, label_noise=0.1, rng=np.random.default_rng(3))


@pytest.mark.parametrize("method", ["gamp", "exact", "tap"])
def test_quantities_are_those_of_the_exact_measure(run, method):
    """`measure` goes through Cholesky factors and population moments; here means come from messages."""
    code, out, _ = run(*SOLVED, "--method", method, "--json")
    record = json.loads(out)
    expected = measure(drawn(), ridge=6 * 0.02, temperature=36 / 50)
    assert code == DONE
    assert record["status"] == "converged"
    for name in ("m", "q", "contrast", "e_train", "e_icl"):
        assert record[name] == pytest.approx(getattr(expected, name), rel=1e-8), name
    # variances, and with them q_self, are exact by linear algebra only
    rel = 1e-8 if method == "exact" else 0.05
    assert record["q_self"] == pytest.approx(expected.q_self, rel=rel)
    assert record["uniqueness"] == pytest.approx(record["q"] / record["q_self"])
    assert record["parameters"]["precision"] == "float64"
    assert record["theory"]["m"] == pytest.approx(record["m"], rel=0.2)


def test_the_command_lays_the_theory_beside_it(run):
    options = ("--dimension", "10", "--context", "20", "--prompts", "200", "--ridge0", "0.01", "--beta", "50")
    code, out, _ = run("instance", *options, "--method", "exact", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["free_energy"] == pytest.approx(-(record["log_partition"] + 60 * np.log(10)) / 50, rel=1e-12)
    assert record["free_energy"] == pytest.approx(record["theory"]["free_energy"], abs=0.2)  # flat measure: 2.8 off


def test_text_names_everything(run):
    code, out, err = run(*SOLVED)
    assert (code, err) == (DONE, "")
    for word in ("finite-size theory", "uniqueness", "residual", "status           converged", "after"):
        assert word in out


def test_files_can_be_read_again(run):
    code, first, err = run(*SOLVED, "--save-data", "d.npz", "--out", "s.nc", "--plot", "s.png", "--json")
    assert code == DONE
    assert "wrote d.npz, s.nc, s.png" in err
    code, second, _ = run("instance", "--data", "d.npz", "--ridge0", "0.02", "--beta", "50", "--json")
    first, second = json.loads(first), json.loads(second)
    assert code == DONE
    assert second["m"] == first["m"]
    assert second["e_icl"] is None  # the law of a user's prompts is not known
    solution = iclglass.load("s.nc")
    assert float(np.trace(solution["mean"].values)) / 6 == pytest.approx(first["m"], rel=1e-12)
    assert run(*SOLVED, "--out", "s.nc")[0] == FILE
    assert run(*SOLVED, "--out", "s.nc", "--force")[0] == DONE


def test_tokens_of_a_user(run):
    rng = np.random.default_rng(0)
    arrays = {
        "tokens": rng.normal(size=(40, 5, 3)),
        "labels": rng.normal(size=(40, 5)),
        "query": rng.normal(size=(40, 3)),
        "label": rng.normal(size=40),
    }
    np.savez("t.npz", **arrays)
    options = ("--ridge0", "0.1", "--beta", "1", "--method", "exact", "--json")
    code, out, _ = run("instance", "--data", "t.npz", "--norm", "N+1", *options)
    assert code == DONE
    solution = iclglass.solve_instance(
        iclglass.Instance.from_tokens(**arrays, norm="N+1"), ridge0=0.1, beta=1.0, method="exact"
    )
    assert json.loads(out)["q"] == pytest.approx(iclglass.overlaps(solution).q, rel=1e-12)


def test_single_precision(run):
    code, out, _ = run(*SOLVED, "--float32", "--method", "exact", "--json")
    double = json.loads(run(*SOLVED, "--method", "exact", "--json")[1])
    single = json.loads(out)
    assert code == DONE
    assert single["parameters"]["precision"] == "float32"
    assert single["m"] == pytest.approx(double["m"], rel=1e-4)
    assert single["m"] != double["m"]


def test_a_divergence_is_named_and_has_no_numbers(run):
    few = [
        "instance",
        "--dimension",
        "10",
        "--context",
        "100",
        "--prompts",
        "100",
        "--ridge0",
        "0.001",
        "--beta",
        "100",
    ]
    code, out, _ = run(*few, "--method", "published", "--json")
    record = json.loads(out)
    assert code == NOT_CONVERGED
    assert record["status"] == "diverges"
    assert "gamp" in record["reason"]
    assert record["m"] is record["q_self"] is record["e_train"] is None
    code, out, _ = run(*few, "--max-iterations", "2")
    assert code == NOT_CONVERGED
    assert "not converged" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["instance", "--ridge0", "1", "--beta", "1"], USAGE, "--dimension is required, or --data"),
        ([*DRAWN, "--beta", "1"], USAGE, "--ridge0 is required"),
        ([*DRAWN, "--ridge0", "-1", "--beta", "1"], USAGE, "ridge0 must be"),
        ([*DRAWN, "--ridge0", "1", "--beta", "0"], USAGE, "beta must be"),
        ([*DRAWN, "--ridge0", "nan", "--beta", "1"], USAGE, "ridge0 must be"),
        ([*SOLVED, "--method", "amp"], USAGE, "'amp'"),
        ([*SOLVED, "--method", "exact", "--damping", "0.5"], USAGE, "takes no damping"),
        ([*SOLVED, "--damping", "2"], USAGE, "damping"),
        ([*SOLVED, "--seed", "-1"], USAGE, "seed must be"),
        ([*SOLVED, "--out", "a.csv"], USAGE, "must end in .nc"),
        ([*SOLVED, "--save-data", "a.csv"], USAGE, "must end in .npz or .nc"),
        ([*SOLVED, "--probes", "3"], USAGE, "takes no probes"),
        ([*DRAWN[:-4], "--seed", "-1", "--ridge0", "1", "--beta", "1", "--method", "exact"], USAGE, "seed must be"),
        (
            [*DRAWN[:1], "--dimension", "5", "--context", "5", "--prompts", "99999999999999", *SOLVED[-4:]],
            USAGE,
            "memory",
        ),
        ([*SOLVED, "--plot", "a.xyz"], USAGE, "a.xyz"),
        ([*SOLVED, "--save-data", "a.nc", "--out", "a.nc"], USAGE, "--out and --save-data both name a.nc"),
        ([*SOLVED, "--data", "a.npz"], USAGE, "leave out --dimension, --context, --prompts"),
        (["instance", "--data", "a.npz", "--ridge0", "1", "--beta", "1"], FILE, "a.npz"),
        (["instance", "--data", "a.txt", "--ridge0", "1", "--beta", "1"], USAGE, ".npz"),
        (["instance", *DRAWN[3:], "--dimension", "0", "--ridge0", "1", "--beta", "1"], USAGE, "dimension must be"),
        (["instance", *DRAWN[1:5], "--prompts", "0", "--ridge0", "1", "--beta", "1"], USAGE, "prompts must be"),
        (["instance", *DRAWN[1:5], "--prompts", "9", "--ridge0", "0", "--beta", "1"], USAGE, "use ridge0 > 0"),
    ],
)
def test_bad_input(run, arguments, code, words):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_pickled_objects_are_refused(run):
    np.savez("o.npz", context=np.array([{}], dtype=object), query=np.ones((1, 1)), label=np.ones(1))
    code, _, err = run("instance", "--data", "o.npz", "--ridge0", "1", "--beta", "1")
    assert code == FILE
    assert "o.npz" in err
