"""Independent samples: streams fixed by identity, checkpoints that survive being killed, and refusals."""

import math
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.sizes import Sizes
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.validation.experiment import Exact
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples, simulate
from tests.numerics.running.killing import rows

ROOT = Path(__file__).parents[2]
POINT = {"task_diversity": 1.5, "context_length": 1.2, "ridge": 0.2, "temperature": 0.4, "seed": 7}


def run(**changes) -> FiniteSizeSamples:
    return simulate(**(POINT | {"dimensions": (4, 6), "samples": 3} | changes))


def same(one: FiniteSizeSamples, two: FiniteSizeSamples) -> bool:
    return all(np.array_equal(one.values[name], two.values[name], equal_nan=True) for name in QUANTITIES)


def test_integers_and_shapes():
    found = run()
    assert (found.dimensions, found.prompts, found.contexts) == ((4, 6), (24, 54), (5, 7))
    assert all(found.values[name].shape == (2, 3) for name in QUANTITIES)
    assert len(np.unique(found.values["m"])) == 6  # no stream used twice


def test_any_subset_order_and_engine_gives_the_same_numbers():
    found = run()
    assert same(found, run(dimensions=(6, 4)))
    with ThreadPoolExecutor(2) as threads:
        assert same(found, run(executor=threads))
    more = run(dimensions=(4, 5, 6), samples=5)
    np.testing.assert_array_equal(more.values["e_icl"][[0, 2], :3], found.values["e_icl"])
    assert not np.any(found.values["m"] == run(seed=8).values["m"])


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_give_the_same_numbers(executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    spectrum = {"tasks": TaskSpectrum.power_law(1.0, size=20), "distinct_tasks": 2.0, "norm": "N+1"}
    for law in ({}, spectrum):
        assert same(run(**law), run(**law, executor=executor, workers=2))


def test_progress_counts_every_sample():
    calls = []
    run(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(7)]


def test_a_checkpoint_serves_more_samples_and_dimensions_with_nan_and_inf(tmp_path):
    file = tmp_path / "samples.checkpoint"
    zero = {"temperature": 0.0, "ridge": 0.0, "task_diversity": 0.5}  # entropy NaN, chi infinite
    run(checkpoint=file, **zero)
    kept = rows(tmp_path / "samples")
    calls = []
    more = run(checkpoint=file, samples=4, dimensions=(5, 6), progress=lambda *done: calls.append(done), **zero)
    assert calls[0] == (3, 8)
    assert kept.items() <= rows(tmp_path / "samples").items()
    assert same(more, run(samples=4, dimensions=(5, 6), **zero))
    assert np.all(np.isinf(more.values["chi"]))
    assert np.all(np.isnan(more.values["entropy"]))


def test_a_killed_process_leaves_a_file_that_resumes(tmp_path):
    """SIGKILL right after the third sample: all three are on disk and the resumed run is bit-identical."""
    file = tmp_path / "samples.checkpoint"
    script = (
        "import os, signal, sys; from iclglass.validation.simulation import simulate\n"
        "from iclglass.numerics.running import run; run._RECORD_SECONDS = 0\n"
        "stop = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None\n"
        f"simulate(**{POINT!r}, dimensions=(4, 6), samples=3, progress=stop, checkpoint=sys.argv[1])"
    )
    path = [str(ROOT), *sys.path]
    code = f"import sys; sys.path[:0] = {path!r}\n{script}"
    ended = subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert len(rows(tmp_path / "samples")) == 3
    assert same(run(checkpoint=file), run())


@pytest.mark.parametrize("executor", [None, "threads"])
def test_an_error_in_one_sample_ends_the_run_with_it(tmp_path, monkeypatch, executor):
    """As it is; what was finished before is kept, and a NaN is never a sample."""

    def fails(*given, **options):
        raise ArithmeticError("no such luck")

    monkeypatch.setattr("iclglass.validation.experiment.measure", fails)
    with ThreadPoolExecutor(2) as threads, pytest.raises(ArithmeticError, match=r"^no such luck$"):
        run(checkpoint=tmp_path / "samples.checkpoint", executor=executor and threads)
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_memory_is_refused_with_the_estimate(monkeypatch):
    with pytest.raises(ParameterError, match=r"need about .* GiB .* fewer samples"):
        run(samples=10**12)
    with pytest.raises(ParameterError, match=r"up to dimension 5000 .* smaller dimensions"):
        run(dimensions=(4, 5000))
    available = psutil.virtual_memory().available
    assert memory(5000, 10) < available  # few prompts: the dual road


def memory(dimension, prompts):
    """Bytes of one data set."""
    experiment = Exact(Parameters(task_diversity=1, context_length=1, ridge=0.2))
    return experiment.memory(Sizes(dimension, prompts, 10, 10, prompts))


@pytest.mark.parametrize(
    ("executor", "workers", "running"), [("processes", None, 3), ("processes", 2, 2), (None, 2, 2)]
)
def test_memory_is_that_of_all_workers_that_run(monkeypatch, executor, workers, running):
    results = 3 * 8 * 2 * 3 * len(QUANTITIES)
    free = running * memory(6, 54) + results - 1
    monkeypatch.setattr("iclglass.numerics.running.engines.cores", lambda: 3)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    with pytest.raises(ParameterError, match=f"on {running} workers"):
        run(executor=executor, workers=workers)
    assert run().samples == 3  # one has room


@pytest.mark.parametrize(("dimension", "prompts"), [(30, 1800), (30, 300)])
def test_memory_estimate_bounds_what_a_sample_takes(dimension, prompts):
    import tracemalloc

    from iclglass.validation.observables import measure
    from iclglass.validation.prompts import draw_prompts

    tracemalloc.start()
    data = draw_prompts(dimension=dimension, context=10, prompts=prompts, rng=np.random.default_rng(0))
    measure(data, ridge=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.2 < peak / memory(dimension, prompts) < 1


def test_smallest_usable_dimension_is_named_and_works():
    with pytest.raises(ParameterError, match=r"P = round\(tau D\^2\) = 0 .* smallest usable dimension is 8"):
        run(task_diversity=0.01)
    with pytest.raises(ParameterError, match=r"N = round\(alpha D\) = 0 .* smallest usable dimension is 6"):
        run(context_length=0.1)
    assert (
        run(task_diversity=0.01, dimensions=(8,)).prompts == run(context_length=0.1, dimensions=(6,)).contexts == (1,)
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task_diversity": 0.0}, ValueError, r"task_diversity = 0\.0 must be finite and > 0"),
        ({"task_diversity": math.inf}, ValueError, "task_diversity = inf must be finite"),
        ({"context_length": -1}, ValueError, "context_length"),
        ({"ridge": -0.1}, ValueError, "ridge"),
        ({"temperature": math.nan}, ValueError, "temperature"),
        ({"samples": 1}, ValueError, "samples must be at least 2"),
        ({"samples": 2.5}, ValueError, "samples must be a whole number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"dimensions": ()}, ValueError, "dimensions must not be empty"),
        ({"dimensions": (4, 4)}, ValueError, "dimensions must be distinct"),
        ({"dimensions": (1, 4)}, ValueError, "dimension must be at least 2"),
        ({"dimensions": 4}, TypeError, "dimensions must be a sequence"),
        ({"dimensions": "16"}, TypeError, "dimensions must be a sequence of integers, .* got str"),
        ({"norm": "P"}, ValueError, "norm must be one of"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"ridge": [0.1, 0.2]}, TypeError, "ridge must be one number, got 2"),
        ({"temperature": 1e300}, ValueError, "temperature must be at most"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        run(**change)
