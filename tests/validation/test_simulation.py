"""Independent samples: streams fixed by identity, checkpoints that survive being killed, and refusals."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples, estimate_memory, simulate

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


def test_any_subset_order_and_number_of_workers_gives_the_same_numbers():
    found = run()
    assert same(found, run(dimensions=(6, 4)))
    assert same(found, run(workers=1))
    more = run(dimensions=(4, 5, 6), samples=5)
    np.testing.assert_array_equal(more.values["e_icl"][[0, 2], :3], found.values["e_icl"])
    assert not np.any(found.values["m"] == run(seed=8).values["m"])


def test_progress_counts_every_sample():
    calls = []
    run(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]


class Stop(Exception):
    """Raised by a progress callback to end a run early."""


def stop_after(count: int, error: type[BaseException]):
    def progress(done: int, total: int) -> None:
        if done == count:
            raise error

    return progress


def test_interrupted_run_resumes_without_drawing_again(tmp_path, monkeypatch):
    file = tmp_path / "samples.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=file, workers=1, progress=stop_after(4, KeyboardInterrupt))
    assert len(file.read_text().splitlines()) == 1 + 4
    assert same(run(checkpoint=file), run())
    before = file.read_bytes()
    monkeypatch.setattr("iclglass.validation.simulation.measure", None)  # a finished file needs no measurement
    assert same(run(checkpoint=file), run(checkpoint=file))
    assert file.read_bytes() == before


def test_samples_of_another_version_are_not_mixed_with_ours(tmp_path, monkeypatch):
    file = tmp_path / "samples.jsonl"
    run(checkpoint=file)
    before = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("iclglass.numerics.running.resuming.version", lambda package: "9.9")
        with pytest.raises(OutputError, match=r"another version .*scipy is '.*' there and '9\.9' here"):
            run(checkpoint=file, samples=4)
    assert file.read_bytes() == before
    assert same(run(checkpoint=file), run())


def test_checkpoint_serves_more_samples_and_keeps_values_that_are_no_json_numbers(tmp_path):
    file = tmp_path / "samples.jsonl"
    zero = {"temperature": 0.0, "ridge": 0.0, "task_diversity": 0.5}  # entropy NaN, chi infinite
    run(checkpoint=file, **zero)
    for line in file.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    more = run(checkpoint=file, samples=4, **zero)
    assert same(more, run(samples=4, **zero))
    assert np.all(np.isinf(more.values["chi"]))
    assert np.all(np.isnan(more.values["entropy"]))


@pytest.mark.parametrize("cut", [1, 30])
def test_torn_last_line_is_dropped(tmp_path, cut):
    file = tmp_path / "samples.jsonl"
    run(checkpoint=file)
    file.write_bytes(file.read_bytes()[:-cut])
    assert same(run(checkpoint=file), run())
    assert len(file.read_text().splitlines()) == 7
    assert same(run(checkpoint=file), run())


def test_torn_first_line_starts_anew(tmp_path):
    file = tmp_path / "samples.jsonl"
    run(checkpoint=file)
    file.write_bytes(file.read_bytes()[:20])
    assert same(run(checkpoint=file), run())


def test_killed_process_leaves_a_file_that_resumes(tmp_path):
    """SIGKILL right after the third sample: all three are on disk and the resumed run is bit-identical."""
    file = tmp_path / "samples.jsonl"
    script = (
        "import os, signal, sys; from iclglass.validation.simulation import simulate\n"
        "stop = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None\n"
        f"simulate(**{POINT!r}, dimensions=(4, 6), samples=3, progress=stop, checkpoint=sys.argv[1])"
    )
    path = [str(ROOT), *sys.path]
    code = f"import sys; sys.path[:0] = {path!r}\n{script}"
    ended = subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert len(file.read_text().splitlines()) == 1 + 3
    assert same(run(checkpoint=file), run())


def test_other_parameters_are_refused_with_the_difference_named(tmp_path):
    file = tmp_path / "samples.jsonl"
    run(checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(ParameterError, match=r"ridge is 0\.2 there and 0\.3 here; seed is 7 there and 8 here"):
        run(checkpoint=file, ridge=0.3, seed=8)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello\n", b"hello", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"format": 3}\n'])
def test_foreign_file_is_refused_and_kept(tmp_path, content):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(OutputError, match="is not a checkpoint of this program"):
        run(checkpoint=file)
    assert file.read_bytes() == content


def test_damage_before_the_last_line_is_named(tmp_path):
    file = tmp_path / "samples.jsonl"
    run(checkpoint=file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], lines[2][:15] + "\n", *lines[3:]]))
    with pytest.raises(OutputError, match="damaged at line 3"):
        run(checkpoint=file)


@pytest.mark.parametrize("name", ["", "missing/samples.jsonl"])
def test_unwritable_checkpoint_is_one_clear_error(tmp_path, name):
    with pytest.raises(OutputError, match="cannot open checkpoint"):
        run(checkpoint=tmp_path / name)


def test_error_in_one_sample_ends_the_run(tmp_path):
    file = tmp_path / "samples.jsonl"
    with pytest.raises(Stop):
        run(checkpoint=file, progress=stop_after(2, Stop))
    assert len(file.read_text().splitlines()) == 1 + 2


def test_more_than_the_memory_is_refused_with_the_estimate(monkeypatch):
    with pytest.raises(ParameterError, match=r"need about .* GiB .* fewer samples"):
        run(samples=10**12)
    with pytest.raises(ParameterError, match=r"up to dimension 5000 .* smaller dimensions"):
        run(dimensions=(4, 5000))
    available = psutil.virtual_memory().available
    assert estimate_memory(dimension=5000, prompts=10, samples=3) < available  # few prompts: the dual road


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
    assert 0.2 < peak / estimate_memory(dimension=dimension, prompts=prompts) < 1


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
        ({"task_diversity": 0.0}, ValueError, "task_diversity must be finite and > 0"),
        ({"task_diversity": math.inf}, ValueError, "task_diversity must be finite"),
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
    ],
)
def test_bad_input_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        run(**change)
