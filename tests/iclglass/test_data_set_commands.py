"""`iclglass instance`, `sample` and `train`: numbers against the library, files, resumption, refusals, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest

import iclglass
from iclglass.numerics.instance import spin_glass
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.learning_curve import learning_curve
from iclglass.validation.observables import measure
from iclglass.validation.samplers import chains
from iclglass.validation.samplers.law import boltzmann_law
from tests.iclglass.conftest import refused
from tests.numerics.running.killing import PROGRAM, mpi_launcher, running

DONE, USAGE, NOT_CONVERGED, FILE = 0, 2, 3, 5
INSTANCE = "instance --dimension 6 --context 12 --prompts 400 --seed 3 --rho 0.1"
SOLVED = f"{INSTANCE} --ridge0 0.02 --beta 50"
SAMPLE = "sample --dimension 5 --context 10 --prompts 60 --seed 3"
SAMPLED = f"{SAMPLE} --ridge0 0.05 --beta 20"
TRAIN = "train --dimension 6 --context 12 --prompts 90 --seed 3 --rho 0.1"
TRAINED = f"{TRAIN} --ridge0 0.02 --steps 400 --learning-rate 0.2"


def drawn(rng=None, **sizes):
    sizes = {"dimension": 6, "context": 12, "prompts": 400, "label_noise": 0.1} | sizes
    return iclglass.draw_prompts(**sizes, rng=np.random.default_rng(3) if rng is None else rng)


# --- instance --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gamp", "exact", "tap"])
def test_quantities_are_those_of_the_exact_measure(run, method):
    """`measure` goes through Cholesky factors and population moments; here means come from messages."""
    code, out, _ = run(f"{SOLVED} --method {method} --json")
    record = json.loads(out)
    expected = measure(drawn(), ridge=6 * 0.02, temperature=36 / 50)
    assert (code, record["status"]) == (DONE, "converged")
    for name in ("m", "q", "contrast", "e_train", "e_icl"):
        assert record[name] == pytest.approx(getattr(expected, name), rel=1e-8), name
    # variances, and with them q_self, are exact by linear algebra only
    assert record["q_self"] == pytest.approx(expected.q_self, rel=1e-8 if method == "exact" else 0.05)
    assert record["uniqueness"] == pytest.approx(record["q"] / record["q_self"])
    assert record["parameters"]["precision"] == "float64"
    assert record["theory"]["m"] == pytest.approx(record["m"], rel=0.2)


def test_the_free_energy_is_that_of_the_theory_beside_it(run):
    line = "instance --dimension 10 --context 20 --prompts 200 --ridge0 0.01 --beta 50 --method exact --json"
    code, out, _ = run(line)
    record = json.loads(out)
    assert code == DONE
    assert record["free_energy"] == pytest.approx(-(record["log_partition"] + 60 * np.log(10)) / 50, rel=1e-12)
    assert record["free_energy"] == pytest.approx(record["theory"]["free_energy"], abs=0.2)  # flat measure: 2.8 off


INSTANCE_SAYS = ("finite-size theory", "uniqueness", "residual", "status           converged", "after")
TRAIN_SAYS = ("optimiser        gd", "gradient flow", "ground_energy", "stable_rate", "status           converged")


@pytest.mark.parametrize(("line", "says"), [(SOLVED, INSTANCE_SAYS), (f"{TRAINED} --tolerance 0.01", TRAIN_SAYS)])
def test_text_names_everything(run, line, says):
    code, out, err = run(line)
    assert (code, err) == (DONE, "")
    assert [word for word in says if word not in out] == []


def test_files_of_an_instance_can_be_read_again(run):
    code, first, err = run(f"{SOLVED} --save-data d.npz --out s.nc --plot s.png --json")
    assert code == DONE
    assert "wrote d.npz, s.nc, s.png" in err
    code, second, _ = run("instance --data d.npz --ridge0 0.02 --beta 50 --json")
    first, second = json.loads(first), json.loads(second)
    assert (code, second["m"]) == (DONE, first["m"])
    assert second["e_icl"] is None  # the law of a user's prompts is not known
    solution = iclglass.load("s.nc")
    assert float(np.trace(solution["mean"].values)) / 6 == pytest.approx(first["m"], rel=1e-12)
    refused(run, f"{SOLVED} --out s.nc", FILE, "s.nc exists")
    assert run(f"{SOLVED} --out s.nc --force")[0] == DONE


def test_tokens_of_a_user(run):
    rng = np.random.default_rng(0)
    shapes = {"tokens": (40, 5, 3), "labels": (40, 5), "query": (40, 3), "label": 40}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez("t.npz", **arrays)
    code, out, _ = run("instance --data t.npz --norm N+1 --ridge0 0.1 --beta 1 --method exact --json")
    assert code == DONE
    instance = iclglass.Instance.from_tokens(**arrays, norm="N+1")
    solution = iclglass.solve_instance(instance, ridge0=0.1, beta=1.0, method="exact")
    assert json.loads(out)["q"] == pytest.approx(iclglass.overlaps(solution).q, rel=1e-12)


def test_single_precision(run):
    single, double = (json.loads(run(f"{SOLVED} {more} --method exact --json")[1]) for more in ("--float32", ""))
    assert single["parameters"]["precision"] == "float32"
    assert single["m"] == pytest.approx(double["m"], rel=1e-4)
    assert single["m"] != double["m"]


def test_a_divergence_is_named_and_has_no_numbers(run):
    few = "instance --dimension 10 --context 100 --prompts 100 --ridge0 0.001 --beta 100"
    code, out, _ = run(f"{few} --method published --json")
    record = json.loads(out)
    assert (code, record["status"]) == (NOT_CONVERGED, "diverges")
    assert "gamp" in record["reason"]
    assert record["m"] is record["q_self"] is record["e_train"] is None
    code, out, _ = run(f"{few} --max-iterations 2")
    assert code == NOT_CONVERGED
    assert "not converged" in out


def test_pickled_objects_are_refused(run):
    np.savez("o.npz", context=np.array([{}], dtype=object), query=np.ones((1, 1)), label=np.ones(1))
    refused(run, "instance --data o.npz --ridge0 1 --beta 1", FILE, "o.npz")


# --- sample ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "hmc", "heat-bath"])
def test_json_beside_the_exact_values(run, method):
    code, out, _ = run(f"{SAMPLED} --method {method} --json")
    record = json.loads(out)
    law = boltzmann_law(drawn(dimension=5, context=10, prompts=60, label_noise=0), ridge0=0.05, beta=20.0)
    assert (code, record["converged"], record["parameters"]["method"]) == (DONE, True, method)
    assert record["ground_energy"] == pytest.approx(law.ground_energy, rel=1e-10)
    checks = {row["name"]: row for row in record["checks"]}
    assert checks["energy above ground state"]["exact"] == pytest.approx(30 / 40)
    assert checks["norm"]["exact"] == pytest.approx(law.expectations()["norm"])
    assert all(row["passed"] for row in record["checks"])
    assert [row["name"] for row in record["diagnostics"]][:3] == ["energy", "m", "norm"]


def test_text_files_and_a_data_set_of_ones_own(run):
    code, out, err = run(f"{SAMPLED} --method hmc --out s.nc --plot s.png")
    assert code == DONE
    assert "wrote s.nc, s.png" in err
    for word in ("R-hat", "energy above ground state", "smallest bias seen", "bound", "agree"):
        assert word in out
    stored = iclglass.load("s.nc")
    assert stored["weights"].shape == (4, 1000, 6, 5)
    assert float(stored["norm"][2, 7]) == pytest.approx(float(np.sum(stored["weights"][2, 7] ** 2)))
    refused(run, f"{SAMPLED} --out s.nc", FILE, "s.nc exists")
    iclglass.save_instance(drawn(dimension=5, context=10, prompts=60, label_noise=0), "d.npz")
    code, out, _ = run("sample --data d.npz --ridge0 0.05 --beta 20 --json")
    assert (code, json.loads(out)["parameters"]["data"]) == (DONE, "d.npz")


def test_a_biased_sampler_is_told(run, monkeypatch):
    code, out, _ = run(f"{SAMPLED} --method langevin --step 0.25 --draws 1000")
    assert code == NOT_CONVERGED
    assert "equipartition is violated" in out
    assert "mala" in out
    monkeypatch.setattr(chains, "accepted", lambda change, beta, rng: np.ones(change.shape, dtype=bool))
    code, out, _ = run(f"{SAMPLED} --method hmc --draws 2000 --json")
    record = json.loads(out)
    assert (code, record["converged"]) == (NOT_CONVERGED, False)
    assert "not the Boltzmann measure: energy above ground state" in record["reason"]


def test_chains_that_have_not_met_are_told(run):
    code, out, _ = run(f"{SAMPLED} --method mala --step 0.001 --warmup 0 --thin 1 --draws 50")
    assert code == NOT_CONVERGED
    assert "not converged: R-hat of" in out
    assert "more draws" in out


# --- train -----------------------------------------------------------------------------------------------------


def test_numbers_of_training_are_those_of_the_library(run):
    code, out, _ = run(f"{TRAINED} --json")
    record = json.loads(out)
    rng = np.random.default_rng(3)
    data = drawn(rng, prompts=90)
    expected = iclglass.train(data, steps=400, learning_rate=0.2, ridge0=0.02, rng=rng)
    assert (code, record["status"]) == (DONE, "completed")
    assert record["energy"] == expected.energy[-1]
    assert record["e_train"] == expected.train_error[-1]
    assert record["stable_rate"] == expected.stable_rate
    assert record["history"]["steps"] == expected.steps.tolist()
    least = spin_glass.energy(data, ground_state(data, 0.02), 0.02)
    assert record["ground_energy"] == pytest.approx(least, rel=1e-10)
    scaled = {"task_diversity": 90 / 36, "context_length": 2.0, "label_noise": 0.1, "ridge": 6 * 0.02}
    flow = learning_curve(time=400 * 0.2 / 6, **scaled, initial_overlap=1.0)
    assert record["gradient_flow"]["e_icl"] == pytest.approx(flow.e_icl, rel=1e-14)
    assert record["e_icl"] == pytest.approx(record["gradient_flow"]["e_icl"], rel=0.5)
    assert record["e_icl"] == pytest.approx(record["theory"]["e_icl"], rel=0.3)


@pytest.mark.parametrize(
    "options",
    ["--parametrisation separate", "--optimiser sgd --batch 30", "--optimiser adam --learning-rate 0.01"],
)
def test_other_layers_and_optimisers(run, options):
    code, out, _ = run(f"{TRAINED} {options} --json")
    record = json.loads(out)
    assert code == DONE
    assert record["history"]["energy"][-1] < 0.7 * record["history"]["energy"][0]
    assert record["gradient_flow"] == {}
    separate = "separate" in options
    assert (record["ground_energy"] is None) == (record["theory"] == {}) == separate  # its ridge is another one
    if not separate:
        assert record["energy"] > record["ground_energy"]


def test_a_run_resumes_and_refuses_other_parameters(run):
    code, first, err = run(f"{TRAINED} --out r.npz --plot r.png --json")
    assert code == DONE
    assert "wrote r.npz, r.png" in err
    assert run(f"{TRAINED} --out r.npz --json")[:2] == (DONE, first)
    refused(run, f"{TRAINED} --out r.npz --ridge0 0.03", USAGE, "ridge0 is 0.02 there and 0.03 here")
    assert run(f"{TRAINED} --out r.npz --ridge0 0.03 --force")[0] == DONE
    refused(run, f"{TRAINED} --plot r.png", FILE, "r.png exists")
    Path("r.npz").write_bytes(b"other")
    refused(run, f"{TRAINED} --out r.npz", FILE, "r.npz")
    assert Path("r.npz").read_bytes() == b"other"


@pytest.mark.slow
@pytest.mark.parametrize("engine", [("--dask", "local", "--workers", "2"), ("--mpi",)])
def test_training_has_the_bits_of_the_serial_run_on_every_engine(tmp_path, engine):
    if "--dask" in engine:
        pytest.importorskip("distributed")
    line = (*TRAINED.split(), "--json")
    found = []
    for where, launcher in (((), PROGRAM), (engine, mpi_launcher() if "--mpi" in engine else PROGRAM)):
        with running(*line, *where, folder=tmp_path, launcher=launcher) as process:
            found.append(process.finish())
    assert found[0] == found[1]
    assert found[0][0] == DONE


def test_training_on_a_data_set_of_the_user(run):
    data = drawn(prompts=90)
    np.savez("d.npz", context=data.context, query=data.query, label=data.label)
    code, out, _ = run("train --data d.npz --ridge0 0.02 --steps 50 --learning-rate 0.2 --plot p.png --json")
    record = json.loads(out)
    assert (code, record["e_icl"], record["parameters"]["prompts"]) == (DONE, None, 90)
    assert record["gradient_flow"] == record["theory"] == {}


def test_a_rate_beyond_the_bound_is_reported_with_it(run):
    code, out, _ = run(f"{TRAINED} --learning-rate 50 --out r.npz --plot r.png --json")
    record = json.loads(out)
    assert (code, record["status"]) == (NOT_CONVERGED, "diverges")
    assert f"{record['stable_rate']:.6g}" in record["reason"]
    assert all(np.isfinite(record["history"]["energy"]))
    code, out, _ = run(f"{TRAINED} --parametrisation separate --learning-rate 50")
    assert code == NOT_CONVERGED
    assert "2/L" in out
    assert "nan" not in out
    code, out, _ = run(f"{TRAINED} --tolerance 1e-14")
    assert code == NOT_CONVERGED
    assert "not converged" in out


# --- refusals --------------------------------------------------------------------------------------------------

SMALL = "instance --dimension 6 --context 12"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        *(
            (f"{command} {more}", USAGE, words)
            for command in ("instance", "sample")
            for more, words in (
                ("--ridge0 1 --beta 1", "--dimension is required, or --data"),
                ("--dimension 6 --context 12 --prompts 9 --beta 1", "--ridge0 is required"),
                ("--dimension 6 --context 12 --prompts 9 --ridge0 -1 --beta 1", "ridge0 must be"),
                ("--dimension 6 --context 12 --prompts 9 --ridge0 nan --beta 1", "ridge0 must be"),
                ("--dimension 6 --context 12 --prompts 9 --ridge0 1 --beta 0", "beta must be"),
                ("--dimension 6 --context 12 --prompts 9 --ridge0 1 --beta 1 --seed -1", "seed must be"),
            )
        ),
        *(
            (f"{command} {more}", code, words)
            for command in (SOLVED, SAMPLED, TRAINED)
            for more, code, words in (
                ("--plot a.xyz", USAGE, "a.xyz"),
                ("--out a.csv", USAGE, "must end in .n"),
                ("--out no/r.npz", FILE, "no is not a folder"),
                ("--data a.npz", USAGE, "leave out --dimension, --context, --prompts"),
            )
        ),
        ("instance --data a.npz --ridge0 1 --beta 1", FILE, "a.npz"),
        ("sample --data a.npz --ridge0 1 --beta 1", FILE, "a.npz"),
        ("train --data d.npz --ridge0 1 --steps 1 --learning-rate 1", FILE, "d.npz"),
        ("instance --data a.txt --ridge0 1 --beta 1", USAGE, ".npz"),
        (f"{SOLVED} --method amp", USAGE, "'amp'"),
        (f"{SOLVED} --method exact --damping 0.5", USAGE, "takes no damping"),
        (f"{SOLVED} --damping 2", USAGE, "damping"),
        (f"{SOLVED} --save-data a.csv", USAGE, "--save-data a.csv must end in .npz or .nc"),
        (f"{SOLVED} --save-data a.nc --out a.nc", USAGE, "--out and --save-data both name a.nc"),
        (f"{SOLVED} --probes 3", USAGE, "takes no probes"),
        (f"{SOLVED} --method exact --seed -1", USAGE, "seed must be"),
        (f"{SOLVED} --prompts 99999999999999", USAGE, "memory"),
        (f"{SOLVED} --dimension 0", USAGE, "dimension must be"),
        (f"{SOLVED} --prompts 0", USAGE, "prompts must be"),
        (f"{SMALL} --prompts 9 --ridge0 0 --beta 1", USAGE, "use ridge0 > 0"),
        (f"{SAMPLED} --method nuts", USAGE, "'nuts'"),
        (f"{SAMPLED} --draws 0", USAGE, "draws must be at least 4"),
        (f"{SAMPLED} --chains 1", USAGE, "chains must be at least 2 (R-hat compares chains)"),
        (f"{SAMPLED} --step 0.1", USAGE, "takes no step"),
        (f"{SAMPLED} --method langevin --step 5", USAGE, "diverges"),
        (f"{SAMPLED} --method hmc --step 5", USAGE, "2/sqrt(L)"),
        (f"{SAMPLED} --method hmc --step 0", USAGE, "step must be"),
        ("sample --dimension 5 --context 10 --prompts 9 --ridge0 0 --beta 1", USAGE, "normalised"),
        ("train --ridge0 1 --steps 1 --learning-rate 1", USAGE, "--dimension is required, or --data"),
        (f"{TRAIN} --steps 1 --learning-rate 1", USAGE, "--ridge0 is required"),
        (f"{TRAINED} --steps 0", USAGE, "steps must be at least 1"),
        (f"{TRAINED} --learning-rate 0", USAGE, "learning_rate must be"),
        (f"{TRAINED} --ridge0 -1", USAGE, "ridge0 must be"),
        (f"{TRAINED} --optimiser lion", USAGE, "'lion'"),
        (f"{TRAINED} --optimiser sgd", USAGE, "needs batch"),
        (f"{TRAINED} --parametrisation joint", USAGE, "'joint'"),
        (f"{TRAINED} --seed -1", USAGE, "seed must be"),
        (f"{TRAINED} --out r.nc", USAGE, "--out r.nc must end in .npz"),
    ],
)
def test_bad_input(run, line, code, words):
    refused(run, line, code, words)
