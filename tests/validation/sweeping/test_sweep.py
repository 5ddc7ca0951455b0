"""Whole sweeps: one digest on every engine and in every order, resumed after SIGKILL at any moment."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import iclglass.validation.sweeping.sweep as module
from iclglass.numerics.errors import OutputError
from iclglass.numerics.running.store import Row, checkpoint_path
from iclglass.numerics.status import Status
from iclglass.numerics.storage import load, save
from iclglass.numerics.sweep import sweep
from iclglass.validation.sweeping.evaluation import evaluate
from iclglass.validation.sweeping.results import DIGEST, FAILURES, digest
from iclglass.validation.sweeping.sweep import sweep_simulated, sweep_status
from tests.numerics.running.killing import rows, sweeping, wait_for
from tests.numerics.test_storage import assert_same_bits

SMALL = {
    "task_diversity": [0.5, 1.0, 2.0],
    "context_length": [1.0, 2.0],
    "ridge": 0.3,
    "dimension": 5,
    "samples": 2,
    "seed": 7,
}
DIAGRAM = {
    "task_diversity": np.linspace(0.3, 3.0, 20),
    "context_length": np.geomspace(0.5, 8.0, 10),
    "temperature": 0.1,
    "dimension": 8,
    "samples": 3,
    "seed": 1,
}
KILLS = 20


@pytest.fixture(scope="module")
def whole():
    """The small sweep, uninterrupted, serial."""
    return sweep_simulated(**SMALL)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "a.nc"


# --- one digest ------------------------------------------------------------------------------------------------


def same(found, expected):
    assert found.attrs[DIGEST] == expected.attrs[DIGEST]
    assert digest(found) == found.attrs[DIGEST]


def test_the_same_digest_again_and_in_threads(whole):
    same(sweep_simulated(**SMALL), whole)
    with ThreadPoolExecutor(3) as executor:
        same(sweep_simulated(**SMALL, executor=executor), whole)


def test_another_seed_another_digest(whole):
    assert sweep_simulated(**SMALL | {"seed": 8}).attrs[DIGEST] != whole.attrs[DIGEST]


def test_data_sets_are_different_ones(whole):
    """With one seed for all of them the mean of two would be that of one, and the standard error zero."""
    assert (whole.e_icl_standard_error.values > 0).all()
    one = sweep_simulated(**SMALL | {"samples": 1})
    assert (one.e_icl.values != whole.e_icl.values).all()


def test_another_order_and_a_part_of_the_grid_give_the_same_points(whole):
    reverse = sweep_simulated(**SMALL | {"task_diversity": [2.0, 1.0, 0.5], "context_length": [2.0, 1.0]})
    part = sweep_simulated(**SMALL | {"task_diversity": [2.0], "context_length": 2.0})
    for name in whole.data_vars:
        np.testing.assert_array_equal(reverse[name].values[::-1, ::-1], whole[name].values, strict=True)
        np.testing.assert_array_equal(part[name].values, whole[name].values[2:, 1], strict=True)


@pytest.mark.slow
def test_two_hundred_points_have_one_digest_on_every_engine():
    """R4: serial, threads, processes with 1 and 2 workers, Dask with 1 and 2."""
    serial = sweep_simulated(**DIAGRAM)
    assert serial.status.size == 200
    assert (serial.status == 0).all()
    with ThreadPoolExecutor(4) as executor:
        same(sweep_simulated(**DIAGRAM, executor=executor), serial)
    for workers in (1, 2):
        same(sweep_simulated(**DIAGRAM, executor="processes", workers=workers), serial)
    pytest.importorskip("distributed")
    for workers in (1, 2):
        same(sweep_simulated(**DIAGRAM, executor="dask", workers=workers), serial)


# --- files -----------------------------------------------------------------------------------------------------


def test_the_file_is_what_is_returned_and_nothing_else_is_left(whole, out):
    found = sweep_simulated(**SMALL, out=out)
    same(found, whole)
    assert_same_bits(load(out), found)
    assert [path.name for path in out.parent.iterdir()] == ["a.nc"]
    assert sweep_status(out).finished == 6
    with pytest.raises(OutputError, match=r"a\.nc exists: choose another name, or --force"):
        sweep_simulated(**SMALL | {"seed": 8}, out=out)
    same(sweep_simulated(**SMALL | {"seed": 8}, out=out, force=True), sweep_simulated(**SMALL | {"seed": 8}))


def stop_after(count):
    def progress(finished, total):
        if finished >= count:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_sweep_goes_on_and_does_not_compute_again(whole, out):
    with pytest.raises(KeyboardInterrupt):
        sweep_simulated(**SMALL, out=out, progress=stop_after(4))
    assert not out.exists()
    kept = rows(out)
    assert len(kept) == 4
    status = sweep_status(out)
    assert (status.finished, status.points, status.running) == (4, 6, False)
    assert sweep_status(checkpoint_path(out)) == status
    seen = []
    with pytest.raises(KeyboardInterrupt):
        sweep_simulated(
            **SMALL, out=out, progress=lambda finished, total: (seen.append(finished), stop_after(5)(finished, total))
        )
    assert seen == [4, 5]
    assert {number: row for number, row in rows(out).items() if number in kept} == kept
    same(sweep_simulated(**SMALL, out=out), whole)
    assert [path.name for path in out.parent.iterdir()] == ["a.nc"]


def test_an_interrupt_before_any_point_leaves_nothing(out):
    with pytest.raises(KeyboardInterrupt):
        sweep_simulated(**SMALL, out=out, progress=stop_after(0))
    assert list(out.parent.iterdir()) == []


def failing(number, status):
    def function(point):
        if point.task_diversity == 1.0:
            return Row(np.full(number, np.nan), int(status), "ValueError: today not", 0.0)
        return evaluate(point)

    return function


def test_lost_points_are_tried_again(whole, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", failing(36, Status.LOST))
        found = sweep_simulated(**SMALL, out=out)
    assert found.status.values.tolist() == [[0, 0], [Status.LOST, Status.LOST], [0, 0]]
    assert [failure["message"] for failure in json.loads(load(out).attrs[FAILURES])] == ["ValueError: today not"] * 2
    kept = rows(out)
    assert len(kept) == 6
    same(sweep_simulated(**SMALL, out=out), whole)
    assert [path.name for path in out.parent.iterdir()] == ["a.nc"]


def test_lost_points_stay_on_disk_when_the_next_try_cannot_start(whole, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", lambda point: failing(36, Status.LOST)(replace(point, task_diversity=1.0)))
        assert (sweep_simulated(**SMALL, out=out).status == Status.LOST).all()
        patch.setattr(module, "make_engine", None)
        with pytest.raises(TypeError):
            sweep_simulated(**SMALL, out=out)
    same(sweep_simulated(**SMALL, out=out), whole)


def test_a_finished_output_of_the_same_call_is_read_and_any_other_refused(whole, out, monkeypatch):
    """What comes after the save, a picture, may be lost: the same command must not compute all of it again."""
    sweep_simulated(**SMALL, out=out)
    written = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", None)
        same(sweep_simulated(**SMALL, out=out), whole)
    assert out.read_bytes() == written
    with pytest.raises(OutputError, match="exists"):
        sweep_simulated(**SMALL | {"seed": 8}, out=out)
    changed = load(out)
    changed["m"] += 1e-16 * changed["m"] + 1e-3
    save(changed, out, force=True)
    with pytest.raises(OutputError, match="exists"):
        sweep_simulated(**SMALL, out=out)


@pytest.mark.parametrize("status", [Status.NOT_CONVERGED, Status.FAILED])
def test_points_that_did_not_converge_or_failed_are_an_answer(out, status, monkeypatch):
    monkeypatch.setattr(module, "evaluate", failing(36, status))
    found = sweep_simulated(**SMALL, out=out)
    assert found.status.values.tolist() == [[0, 0], [status, status], [0, 0]]
    assert len(json.loads(load(out).attrs[FAILURES])) == 2
    assert [path.name for path in out.parent.iterdir()] == ["a.nc"]
    assert sweep_status(out).failed == 2


def test_a_result_that_cannot_be_saved_is_kept_in_the_checkpoint(whole, out, monkeypatch):
    def full(*arguments, **options):
        raise OutputError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "save", full)
        with pytest.raises(OutputError, match="No space"):
            sweep_simulated(**SMALL, out=out)
    assert len(rows(out)) == 6
    same(sweep_simulated(**SMALL, out=out), whole)


def test_a_death_between_the_save_and_the_end_is_harmless(whole, out, monkeypatch):
    """The output is there and its checkpoint still: the same call writes it again from the checkpoint."""

    def dies(*arguments, **options):
        save(*arguments, **options)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(module, "save", dies)
        with pytest.raises(SystemExit):
            sweep_simulated(**SMALL, out=out)
    assert load(out).attrs[DIGEST] == whole.attrs[DIGEST]
    monkeypatch.setattr(module, "evaluate", None)  # nothing is left to compute
    same(sweep_simulated(**SMALL, out=out), whole)
    assert [path.name for path in out.parent.iterdir()] == ["a.nc"]


def test_the_status_of_what_is_no_sweep(tmp_path):
    with pytest.raises(OutputError, match="no sweep was begun there"):
        sweep_status(tmp_path / "b.nc")
    (tmp_path / "b.nc").write_text("not netCDF")
    with pytest.raises(OutputError, match="damaged or not a netCDF-4 file"):
        sweep_status(tmp_path / "b.nc")
    save(sweep(task_diversity=1.0, context_length=1.0).drop_vars("status"), tmp_path / "c.nc")
    with pytest.raises(OutputError, match="is not the output of a sweep"):
        sweep_status(tmp_path / "c.nc")


# --- SIGKILL ---------------------------------------------------------------------------------------------------

LONG = ("--simulate", "--tau", "0.3:3:30", "--alpha", "0.5:8:30:log", "--dimension", "10", "--samples", "16")
"""900 points of some 15 ms."""
LONG_POINTS = 900


@pytest.fixture(scope="module")
def uninterrupted():
    """The digest of the long sweep, from one life on another engine."""
    return sweep_simulated(
        task_diversity=np.linspace(0.3, 3, 30), context_length=np.geomspace(0.5, 8, 30), dimension=10, samples=16
    ).attrs[DIGEST]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "kills"),
    [(("--workers", "2"), KILLS), (("--dask", "local", "--workers", "2"), KILLS // 4)],
    ids=["processes", "dask"],
)
def test_nothing_is_lost_by_twenty_kills(engine, kills, uninterrupted, tmp_path):
    """R1: SIGKILL of the driver at 20 random moments of one sweep, resumed each time; 5 where starting takes long.

    Half of the moments are uniform over the time from the start of the driver to a little after its first commit; the
    others are uniform over the half second after its first commit of that life, when it only computes and commits.
    """
    if "--dask" in engine:
        pytest.importorskip("distributed")
    out, chance, kept = tmp_path / "a.nc", random.Random(20), {}
    tally = {"before the first commit": 0, "between": 0, "after the last": 0}
    until_first = 1.0
    for kill in range(kills):
        before = len(kept)
        with sweeping(*LONG, *engine, "--out", out, folder=tmp_path) as sweep:
            started = time.monotonic()
            if kill == 0:
                time.sleep(chance.uniform(0.0, 1.0))
            elif kill % 2:
                time.sleep(chance.uniform(0.0, 1.2 * until_first))
            else:
                wait_for(lambda: len(rows(out)) > before or sweep.process.poll() is not None)  # noqa: B023
                until_first = time.monotonic() - started
                time.sleep(chance.uniform(0.0, 0.5))
            assert sweep.process.poll() is None, sweep.finish()
            sweep.kill()
            wait_for(lambda: not sweep.relatives(), 20)
        found = rows(out)
        assert {number: row for number, row in found.items() if number in kept} == kept
        kept = found
        place = "before the first commit" if not kept else "between" if len(kept) < LONG_POINTS else "after the last"
        tally[place] += 1
        assert not out.exists()
    print(tally, f"{len(kept)} of {LONG_POINTS} points after {kills} kills")
    assert tally["between"] >= kills // 2
    assert not sweep_status(out).running
    with sweeping(*LONG, *engine, "--out", out, folder=tmp_path) as sweep:
        code, _, err = sweep.finish()
        assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
    assert load(out).attrs[DIGEST] == uninterrupted


@pytest.mark.slow
def test_a_kill_during_the_final_save_leaves_no_unreadable_output(tmp_path):
    """R2: killed as soon as the temporary file is seen, or a little later."""
    out, chance, places = tmp_path / "a.nc", random.Random(3), set()
    arguments = ("--simulate", "theory", "--tau", "0.3:3:20", "--alpha", "0.5:8:10:log", "--out", out)
    for _ in range(5):
        with sweeping(*arguments, "--force", folder=tmp_path) as sweep:
            wait_for(lambda: any(path.name.startswith(".a.nc.") for path in tmp_path.iterdir()))
            time.sleep(chance.choice((0.0, chance.uniform(0, 0.02))))
            sweep.kill()
        for path in tmp_path.iterdir():
            if path.name.startswith(".a.nc."):
                path.unlink()
        places.add(out.exists())
        if out.exists():
            assert (load(out).status == 0).all()
            out.unlink()
    assert False in places  # some kills came before the end of the save
