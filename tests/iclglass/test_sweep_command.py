"""`iclglass sweep --simulate` and `--status`: options, exit codes, Ctrl-C, engines, what is kept."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import iclglass.validation.sweeping.evaluation as evaluation
import iclglass.validation.sweeping.sweep as module
from iclglass.numerics.running.store import Row
from iclglass.numerics.status import Status
from iclglass.numerics.storage import load
from iclglass.validation.sweeping.evaluation import evaluate
from iclglass.validation.sweeping.results import DIGEST, FAILURES
from iclglass.validation.sweeping.sweep import sweep_simulated
from tests.iclglass.conftest import refused
from tests.numerics.running.killing import mpi_launcher, rows, sweeping, wait_for

DONE, USAGE, NOT_CONVERGED, FILE, INTERRUPTED = 0, 2, 3, 5, 130
GRID = "--tau 0.5:2:3 --alpha 1 --dimension 5 --samples 2"
SIMULATED = f"sweep --simulate {GRID} --out a.nc"
SAME = {"task_diversity": np.linspace(0.5, 2, 3), "context_length": 1.0, "dimension": 5, "samples": 2}

MANY = ("--simulate", "--tau", "0.3:3:20", "--alpha", "0.5:8:15:log", "--dimension", "10", "--samples", "16")
"""300 points of some 15 ms."""
ENDLESS = ("--simulate", "--tau", "1:2:8", "--alpha", "1", "--dimension", "24", "--samples", "1000000")
"""8 points of hours."""
ENGINES = {"serial": (), "processes": ("--workers", "2"), "dask": ("--dask", "local", "--workers", "2")}


def digest_of(path):
    return load(path).attrs[DIGEST]


def files():
    return sorted(path.name for path in Path().iterdir())


# --- what it does ----------------------------------------------------------------------------------------------


def test_a_sweep_is_that_of_python_and_says_what_it_found(run):
    code, out, err = run(SIMULATED)
    assert code == DONE, err
    assert "wrote a.nc" in err
    assert "3 of 3 points: converged" in out
    assert f"digest {sweep_simulated(**SAME).attrs[DIGEST]}" in out
    assert "m            against the theory: |z| < 2 at" in out
    assert files() == ["a.nc"]
    assert digest_of("a.nc") in out


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ("--seed 3 --samples 4 --without-theory", {"seed": 3, "samples": 4, "theory": False}),
        (
            "--rho 0.2 --kappa 1 --norm N+1 --without-theory",
            {"label_noise": 0.2, "distinct_tasks": 1.0, "norm": "N+1", "theory": False},
        ),
        ("--test-context-length 3 --lam 0.5", {"test_context_length": 3.0, "ridge": 0.5}),
    ],
)
def test_options_are_passed_on(run, options, same):
    assert run(f"{SIMULATED} {options}")[0] == DONE
    assert digest_of("a.nc") == sweep_simulated(**SAME | same).attrs[DIGEST]


@pytest.mark.parametrize(
    ("road", "options", "same"),
    [
        ("message-passing", "--method exact --tolerance 1e-8", {"method": "exact", "tolerance": 1e-8}),
        ("sampling", "--temperature 0.2 --draws 20", {"temperature": 0.2, "draws": 20}),
        (
            "training",
            "--steps 20000 --tolerance 1e-3 --learning-rate 0.05",
            {"steps": 20000, "tolerance": 1e-3, "learning_rate": 0.05},
        ),
    ],
)
def test_every_road_with_its_options(run, road, options, same):
    assert run(f"sweep --simulate {road} {GRID} --out a.nc {options}")[0] == DONE
    assert digest_of("a.nc") == sweep_simulated(**SAME | same, road=road).attrs[DIGEST]


def test_theory_alone_needs_no_dimension(run):
    code, out, _ = run("sweep --simulate theory --tau 0.5:2:3 --alpha 1 --out a.nc")
    assert code == DONE
    assert "against the theory" not in out
    assert (load("a.nc").status == 0).all()


@pytest.mark.parametrize(("value", "road"), [("true", "simulation"), ('"training"', "training"), ("false", None)])
def test_a_configuration_file_chooses_the_road(run, value, road):
    text = f'simulate = {value}\ntau = "0.5:2:3"\nalpha = 1\ndimension = 5\nout = "a.nc"\n'
    Path("run.toml").write_text(text + ("samples = 2\n" if road else ""))
    code, _, err = run("sweep --config run.toml")
    assert code == DONE, err
    assert load("a.nc").attrs["title"] == ("iclglass sweep" if road is None else f"iclglass sweep: {road}")
    assert run("sweep --config run.toml --force --simulate message-passing")[0] == DONE
    assert load("a.nc").attrs["title"] == "iclglass sweep: message-passing"


def test_pictures(run):
    assert run(f"{SIMULATED} --plot a.png")[0] == DONE
    two = "sweep --simulate --tau 0.5:2:2 --alpha 1:2:2 --dimension 5 --samples 2"
    assert run(f"{two} --out b.nc --plot b.pdf --observable q")[0] == DONE
    assert files() == ["a.nc", "a.png", "b.nc", "b.pdf"]


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--simulate guess", "guess"),
        ("--samples 0", "samples"),
        ("--samples many", "--samples 'many' is not a whole number"),
        ("--samples nan", "not a whole number"),
        ("--seed -1", "seed"),
        ("--seed 1.5", "not a whole number"),
        ("--dimension 1", "dimension"),
        ("--dimension 0", "dimension"),
        ("--workers 0", "workers"),
        ("--workers -3", "workers"),
        ("--method gamp", "has one method"),
        ("--draws 10", "takes no draws"),
        ("--steps 10", "takes no steps"),
        ("--learning-rate 0.1", "takes no learning_rate"),
        ("--tolerance 0.1", "takes no tolerance"),
        ("--simulate training --steps 0", "steps"),
        ("--simulate training --tolerance nan", "tolerance"),
        ("--simulate training --learning-rate inf", "learning_rate"),
        ("--simulate training --learning-rate -1", "learning_rate"),
        ("--simulate sampling", "temperature = 0 must be > 0"),
        ("--simulate sampling --temperature 0.1 --method gamp", "gamp"),
        ("--simulate theory --draws 3 --samples 2", "--simulate theory draws no data sets: leave out --samples"),
        ("--dask local --mpi", "--dask and --mpi are two engines"),
        ("--dask=", "names no scheduler"),
        ("--mpi --workers 2", "does not go with mpi"),
        ("--observable nothing", "nothing"),
        ("--plot a.png --observable entropy --simulate training", "gives no 'entropy'"),
        ("--plot a.nc", "a.nc"),
        ("--plot a.txt", "a.txt"),
        ("--tau 0.5 --plot a.png", "one or two axes"),
        ("--norm D", "norm"),
        ("--lam -1", "ridge"),
        ("--kappa 1000", "more than its P"),
        ("--simulate=", "road"),
    ],
)
def test_bad_values_are_usage_errors_and_nothing_is_written(run, arguments, message):
    refused(run, f"{SIMULATED} {arguments}", USAGE, message)


def test_a_dimension_is_needed_where_data_sets_are_drawn(run):
    refused(run, "sweep --simulate --tau 1 --alpha 1 --out a.nc", USAGE, "give it a dimension D")


@pytest.mark.parametrize(
    "option",
    [
        *("--samples 8", "--seed 0", "--without-theory", "--method gamp", "--draws 3", "--steps 3", "--mpi"),
        *("--learning-rate 0.1", "--tolerance 1e-3", "--workers 2", "--dask local"),
    ],
)
def test_options_of_simulated_sweeps_need_simulate_and_status_goes_alone(run, option):
    name = option.split()[0]
    refused(run, f"sweep --tau 1 --alpha 1 --out a.nc {option}", USAGE, f"{name} needs --simulate")
    refused(run, f"sweep --status a.nc {option}", USAGE, f"leave out {name}")
    refused(run, "sweep --status a.nc --simulate", USAGE, "leave out --simulate")


def test_an_existing_output_is_refused_without_force(run):
    Path("a.nc").write_text("precious")
    refused(run, SIMULATED, FILE, "a.nc exists: choose another name, or --force")
    assert Path("a.nc").read_text() == "precious"
    assert run(f"{SIMULATED} --force")[0] == DONE


@pytest.mark.parametrize("out", ["missing/a.nc", "."])
def test_outputs_that_cannot_be_written_are_refused(run, out):
    assert run(f"sweep --simulate {GRID} --out {out}")[0] == FILE


def begin(points=2):
    """Leave a checkpoint with so many points of the sweep SIMULATED."""

    def progress(finished, total):
        if finished >= points:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_simulated(**SAME, out="a.nc", progress=progress)


def test_a_begun_sweep_goes_on_and_others_are_refused(run):
    begin()
    before = rows("a.nc")
    assert len(before) == 2
    code, _, err = run(f"{SIMULATED} --seed 5")
    assert code == USAGE
    assert "holds a sweep of other parameters: seed is 0 there and 5 here" in err
    assert rows("a.nc") == before
    code, out, _ = run(SIMULATED)
    assert code == DONE
    assert f"digest {sweep_simulated(**SAME).attrs[DIGEST]}" in out
    assert files() == ["a.nc"]


@pytest.mark.parametrize("command", ["sweep", "phase-diagram"])
def test_a_plain_sweep_beside_an_unfinished_one_is_refused_and_force_drops_that(run, command):
    """Else the simulated one, when it goes on, would replace the finished output."""
    begin()
    plain = f"{command} --tau 0.5:2:3 --alpha 0.5:2:3 --out a.nc"
    refused(run, plain, FILE, "a.nc.checkpoint holds an unfinished sweep --simulate", "--force")
    assert not Path("a.nc").exists()
    refused(run, f"{plain} --lam -1 --force", USAGE, "ridge")  # a bad value costs nothing that was finished
    assert len(rows("a.nc")) == 2
    assert run(f"{plain} --force")[0] == DONE
    assert not Path("a.nc.checkpoint").exists()
    refused(run, SIMULATED, FILE, "a.nc exists")


def test_a_damaged_checkpoint_is_refused_and_force_begins_anew(run):
    Path("a.nc.checkpoint").write_bytes(b"not a database, " * 100)
    for command in (SIMULATED, "sweep --status a.nc"):
        code, _, err = run(command)
        assert code == FILE
        assert "is damaged, or not an unfinished sweep" in err
        assert "--force" in err
    assert run(f"{SIMULATED} --force")[0] == DONE


def test_points_that_fail_have_an_exit_code_and_are_tried_again(run, monkeypatch):
    def fails(point):
        if point.task_diversity == 2.0:
            return Row(np.full(36, np.nan), int(Status.LOST), "its worker died", 0.0)
        return evaluate(point)

    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", fails)
        code, out, err = run(SIMULATED)
    assert code == NOT_CONVERGED
    assert "point 2 lost: its worker died" in err
    assert "2 of 3 points: converged" in out
    assert "1 of 3 points: lost" in out
    assert len(json.loads(load("a.nc").attrs[FAILURES])) == 1
    assert "1 failed" in run("sweep --status a.nc")[1]
    assert run(SIMULATED)[0] == DONE
    assert files() == ["a.nc"]


def test_json_of_a_simulated_sweep_a_plain_one_and_a_status(run):
    code, out, _ = run(f"{SIMULATED} --json")
    found = json.loads(out)
    assert (code, found["schema_version"], found["points"], found["status"]) == (DONE, 1, 3, {"converged": 3})
    assert found["digest"] == digest_of("a.nc")
    assert found["failures"] == []
    assert {row["quantity"] for row in found["comparisons"]} >= {"m", "e_icl"}
    plain = json.loads(run("sweep --tau 0.5:2:4 --alpha 1 --lam 0.1 --out b.nc --json")[1])
    assert plain == {"schema_version": 1, "out": "b.nc", "points": 4, "status": {"converged": 4}}
    status = json.loads(run("sweep --status a.nc --json")[1])
    assert (status["finished"], status["points"], status["running"], status["writer"]) == (3, 3, False, None)


def test_the_same_command_goes_on_with_its_picture(run, monkeypatch):
    def fails(point):
        return Row(np.full(36, np.nan), int(Status.LOST), "its worker died", 0.0)

    command = f"{SIMULATED} --plot a.png"
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", fails)
        assert run(command)[0] == NOT_CONVERGED
    assert run(command)[0] == DONE
    code, _, err = run(command)
    assert (code, files()) == (DONE, ["a.nc", "a.png"])
    assert "a.nc is finished: it is read, not computed again" in err
    Path("a.nc").unlink()
    assert run(command)[0] == FILE  # a picture without its data is someone else's


def test_an_engine_that_is_not_there_costs_nothing_that_was_finished(run, monkeypatch):
    def interrupted(point):
        if point.task_diversity == 2.0:
            raise KeyboardInterrupt
        return evaluate(point)

    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", interrupted)
        assert run(SIMULATED)[0] == INTERRUPTED
    before = rows(Path("a.nc"))
    assert before
    code, _, err = run(f"{SIMULATED} --force --mpi")
    assert code == USAGE, err
    assert rows(Path("a.nc")) == before


# --- status ----------------------------------------------------------------------------------------------------


def test_status_of_nothing_a_begun_and_a_finished_sweep(run):
    code, _, err = run("sweep --status a.nc")
    assert code == FILE
    assert "no sweep was begun there" in err
    begin()
    for name in ("a.nc", "a.nc.checkpoint"):
        code, out, _ = run("sweep", "--status", name)
        assert code == DONE
        assert f"not running (process {os.getpid()} on" in out
        assert "2 of 3 points, 0 failed" in out
        assert "the same command goes on from there" in out
    run(SIMULATED)
    code, out, _ = run("sweep --status a.nc")
    assert code == DONE
    assert out == "finished: 3 of 3 points, 0 failed\n"


PLAIN = "sweep --tau 0.5:2:3 --alpha 1 --out a.nc"


@pytest.mark.parametrize(
    "first",
    [PLAIN, "phase-diagram --tau 0.5:2:3 --alpha 0.5:2:3 --out a.nc", SIMULATED],
    ids=["plain", "diagram", "simulated"],
)
def test_two_sweeps_into_one_new_file_are_not_both_finished(run, monkeypatch, first):
    """One after the other began: the second is refused while the first computes, and the first is undisturbed."""
    from iclglass.numerics import phase_diagram, saddle_point, sweep

    codes, solve = [], saddle_point.solve_points

    def at_once(*arguments, **options):
        if not codes:
            codes.append(None)
            codes[0], _, err = run(PLAIN)
            assert "a.nc is being written by another run" in err
        return solve(*arguments, **options)

    for place in (sweep, phase_diagram, evaluation):
        if hasattr(place, "solve_points"):
            monkeypatch.setattr(place, "solve_points", at_once)
    code, _, err = run(first)
    assert (codes, code) == ([FILE], DONE), err
    assert load("a.nc").sizes["task_diversity"] == 3
    assert run(PLAIN)[0] == FILE  # it exists
    assert not list(Path().glob("*.lock"))


# --- real processes --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    """The digest of MANY, uninterrupted."""
    return sweep_simulated(
        task_diversity=np.linspace(0.3, 3, 20), context_length=np.geomspace(0.5, 8, 15), dimension=10, samples=16
    ).attrs[DIGEST]


@pytest.fixture(params=list(ENGINES))
def engine(request):
    if request.param == "dask":
        pytest.importorskip("distributed")
    return ENGINES[request.param]


@pytest.mark.slow
def test_control_c_once_finishes_what_runs_and_the_sweep_goes_on(engine, whole, tmp_path):
    out = tmp_path / "a.nc"
    with sweeping(*MANY, *engine, "--out", out, folder=tmp_path) as sweep:
        wait_for(lambda: len(rows(out)) > 5)
        status = sweep_status_text(out, tmp_path)
        sweep.interrupt()
        code, printed, err = sweep.finish()
        assert code == INTERRUPTED, err
        assert printed == ""
        assert err.endswith(f"what was finished is kept in {out}.checkpoint: the same command goes on from there\n")
        if engine:  # a serial sweep runs one point, and says so when it is over
            assert "tasks that run; Ctrl-C again stops at once" in err
        assert len(err.splitlines()) == (2 if engine else 1), err
        wait_for(lambda: not sweep.relatives(), 20)
    assert f"running (process {sweep.process.pid} on" in status
    assert "of 300 points, 0 failed" in status
    assert "points a second since it began, about" in status
    kept = rows(out)
    assert 5 < len(kept) < 300
    assert "not running" in sweep_status_text(out, tmp_path)
    with sweeping(*MANY, "--workers", "2", "--out", out, folder=tmp_path) as sweep:
        wait_for(lambda: len(rows(out)) > len(kept) or sweep.process.poll() is not None)
        now = rows(out)
        assert not now or {number: now[number] for number in kept} == kept
        assert sweep.finish()[0] == DONE
    assert digest_of(out) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def sweep_status_text(out, folder):
    with sweeping("--status", out, folder=folder) as status:
        code, printed, err = status.finish()
    assert code == DONE, err
    return printed


@pytest.mark.slow
def test_control_c_twice_stops_at_once_in_the_middle_of_endless_points(engine, tmp_path):
    out = tmp_path / "a.nc"
    with sweeping(*ENDLESS, *engine, "--out", out, folder=tmp_path) as sweep:
        wait_for(out.with_name("a.nc.checkpoint").exists)
        if engine:
            wait_for(lambda: len(sweep.workers()) == 2)
        time.sleep(4)
        sweep.interrupt()
        time.sleep(2)
        assert sweep.process.poll() is None
        started = time.monotonic()
        sweep.interrupt()
        code, _, err = sweep.finish(30)
        assert code == INTERRUPTED, err
        print(f"{time.monotonic() - started:.1f} s")
        wait_for(lambda: not sweep.relatives(), 20)
    assert list(tmp_path.iterdir()) == []  # no point was finished


@pytest.mark.slow
def test_control_c_while_it_starts_is_an_interrupt_too(engine, tmp_path):
    for wait in (0.3, 1.0):
        with sweeping(*ENDLESS, *engine, "--out", "a.nc", folder=tmp_path) as sweep:
            wait_for((tmp_path / "a.nc.checkpoint").exists)
            time.sleep(wait)
            sweep.interrupt()
            time.sleep(0.5)
            if sweep.process.poll() is None:
                sweep.interrupt()
            # the second one may come when Python is on its way out already: a shell says 130 of both
            sweep.process.communicate(timeout=60)
            assert sweep.process.returncode in (INTERRUPTED, -signal.SIGINT)
            wait_for(lambda: not sweep.relatives(), 20)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_second_driver_is_refused_at_once_and_the_first_goes_on(whole, tmp_path):
    out = tmp_path / "a.nc"
    with sweeping(*MANY, "--out", out, folder=tmp_path) as first:
        wait_for(lambda: len(rows(out)) > 3)
        for options in ((), ("--force",), ("--seed", "3")):
            with sweeping(*MANY, "--out", out, *options, folder=tmp_path) as second:
                code, _, err = second.finish()
            assert code == FILE
            assert f"is being written by another run (process {first.process.pid} on" in err
        assert first.finish()[0] == DONE
    assert digest_of(out) == whole


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error_and_the_sweep_goes_on_when_there_is_room(whole, tmp_path):
    """A limit on the size of files stands for the full disk."""
    out = tmp_path / "a.nc"

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    with sweeping(*MANY, "--out", out, folder=tmp_path, before=limited) as sweep:
        code, _, err = sweep.finish()
    assert code == FILE
    assert "a.nc.checkpoint cannot be written: " in err
    assert "what was finished before is kept" in err
    assert len(rows(out)) > 5
    with sweeping(*MANY, "--workers", "2", "--out", out, folder=tmp_path) as sweep:
        assert sweep.finish()[0] == DONE
    assert digest_of(out) == whole


@pytest.mark.slow
def test_an_absent_scheduler_is_one_clear_error_soon(tmp_path):
    pytest.importorskip("distributed")
    with sweeping("--simulate", *GRID.split(), "--out", "a.nc", "--dask", "127.0.0.1:1", folder=tmp_path) as sweep:
        code, _, err = sweep.finish(60)
    assert code == FILE
    assert "no Dask scheduler answers at 127.0.0.1:1 within 5 s" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_under_mpi_what_was_finished_outlives_ctrl_c_and_dead_processes(tmp_path):
    """MPI ends all processes when one dies: one end of the job, nothing lost, and the same command goes on."""
    launcher, out = mpi_launcher(), tmp_path / "a.nc"
    for way in ("a worker", "the driver", "Ctrl-C"):
        with sweeping(*MANY, "--out", out, "--mpi", folder=tmp_path, launcher=launcher) as sweep:
            before = rows(out)
            wait_for(lambda: len(rows(out)) >= len(before) + 10)  # noqa: B023
            ranks = {one.environ()["PMI_RANK"]: one for one in sweep.relatives() if "PMI_RANK" in one.environ()}
            if not ranks:
                pytest.skip("this MPI does not name its processes as MPICH does")
            if way == "Ctrl-C":
                sweep.interrupt()
            else:
                ranks["0" if way == "the driver" else "1"].kill()
            sweep.process.communicate(timeout=60)
            assert sweep.process.returncode == (INTERRUPTED if way == "Ctrl-C" else signal.SIGKILL)
            wait_for(lambda: not sweep.relatives(), 30)
        kept = rows(out)
        assert before.items() <= kept.items()
        assert len(kept) >= len(before) + 10
    with sweeping(*MANY, "--out", out, "--workers", "2", folder=tmp_path) as sweep:
        assert sweep.finish()[0] == DONE
    with sweeping(*MANY, "--out", tmp_path / "whole.nc", folder=tmp_path) as sweep:
        assert sweep.finish()[0] == DONE
    assert digest_of(out) == digest_of(tmp_path / "whole.nc")


@pytest.mark.slow
def test_mpi_gives_the_same_digest_and_needs_mpiexec(tmp_path):
    pytest.importorskip("mpi4py")
    arguments = ("--simulate", *GRID.split(), "--out", "a.nc", "--mpi")
    with sweeping(*arguments, folder=tmp_path) as sweep:
        code, _, err = sweep.finish()
    assert code == USAGE
    assert "start with mpiexec -n 4 python -m mpi4py.futures -m iclglass" in err
    assert list(tmp_path.iterdir()) == []
    with sweeping(*arguments, folder=tmp_path, launcher=mpi_launcher()) as sweep:
        code, out, err = sweep.finish()
    assert code == DONE, err
    expected = sweep_simulated(**SAME).attrs[DIGEST]
    assert f"digest {expected}" in out
    assert digest_of(tmp_path / "a.nc") == expected
