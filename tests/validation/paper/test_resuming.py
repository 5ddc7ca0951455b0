"""Every figure whose simulation is cut into parts goes on after an interruption, with the data of a whole run."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module

import pytest
import xarray as xr
from matplotlib.figure import Figure

import iclglass.validation.paper.reproduce as module
from iclglass.numerics.storage import PROVENANCE, load
from iclglass.validation.paper.catalogue import FIGURES
from iclglass.validation.paper.figure import Verdict
from tests.numerics.running.killing import PROGRAM, mpi_launcher, rows, running

PATIENCE = 60.0
"""Seconds in which a part of a quick run has surely been written."""

SMALL = {
    "fig-1": ({"dimension": 4, "context": 5, "prompts": 10, "repeats": 5}, {"_PART": 2}),
    "fig-2": ({"repeats": 3, "epochs": 5}, {"_TRAINED": (4, 20), "_MESSAGES": 150, "_LARGER": 20, "_PART": 1}),
    "fig-3": ({"dimension": 3, "context": 5, "prompts": [5, 20], "weights": 10, "grid": 3}, {}),
    "fig-4": (
        {
            "map_context": (10, 20),
            "map_prompts": (20, 40),
            "map_repeats": 2,
            "prompts": 40,
            "context": (5, 8),
            "repeats": 3,
            "adam_repeats": 3,
            "adam_steps": 3,
        },
        {},
    ),
    "fig-S1": ({"dimension": 4, "context": 6, "steps": 5, "repeats": 2, "task_diversity": (0.5, 2.0)}, {}),
    "fig-S2": ({"dimension": 3, "prompts": 20, "contexts": [4, 5, 6], "repeats": 2}, {"THEORY_DRAWS": 10}),
    "fig-S3": ({"dimension": 3, "prompts": 2000, "repeats": 3}, {}),
    "fig-S4": (
        {"dimension": 3, "context": 5, "prompts": 50, "correlations": [0.2, 0.4], "repeats": 2, "iterations": 1},
        {"THEORY_DRAWS": 200},
    ),
    "fig-S5": ({"dimension": 4, "contexts": [6, 8], "matrices": 10}, {}),
    "fig-S6": ({"dimension": 3, "context": 10, "tasks": 3, "epochs": 5, "repeats": 5}, {"BATCH": 2}),
    "fig-S8": (
        {
            "dimension": 5,
            "prompts": 70,
            "context": (4, 10),
            "steps": 3,
            "fresh_prompts": 10,
            "repeats": 3,
            "together": 2,
        },
        {},
    ),
    "fig-S7": ({"dimensions": (4, 5), "prompts": (5, 30), "repeats": 2, "spectrum_repeats": 1}, {}),
}
"""Name -> parameters and constants that make it quick."""


FAST = ("fig-S1", "fig-S5", "fig-S6")


@pytest.fixture(params=[name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SMALL])
def small(request, monkeypatch):
    """A figure whose simulation takes milliseconds; picture and verdict, which need more data, are left out."""
    name = request.param
    values, constants = SMALL[name]
    if name == "fig-S8":
        pytest.importorskip("torch")
    source = import_module(FIGURES[name])
    given = {**source.parameters("quick"), **values}
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)  # t-SNE needs more points
    for constant, value in constants.items():
        assert hasattr(source, constant)
        monkeypatch.setattr(source, constant, value)
    figure = replace(
        source.FIGURE,
        parameters=lambda scale: given,
        judge=lambda data, published: Verdict("", (), ()),
        draw=lambda data, published: Figure(),
    )
    monkeypatch.setattr(module, "get", lambda _: figure)
    return name


def data_of(folder, name) -> xr.Dataset:
    data = load(folder / f"{name}.nc")
    data.attrs.pop(PROVENANCE)  # it holds the time
    return data


def stopping_at(wanted):
    def progress(done, total):
        if done == wanted:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_figure_goes_on(small, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    counts = []
    module.reproduce(small, out=whole, seed=3, progress=lambda done, total: counts.append(total))
    expected = data_of(whole, small)
    parts = counts[-1]

    simulated = []
    real = module.to_bytes
    monkeypatch.setattr(module, "to_bytes", lambda data: simulated.append(1) or real(data))
    for wanted in sorted({1, parts - 1, parts}):  # the last: all parts are there, the whole is not
        with pytest.raises(KeyboardInterrupt):
            module.reproduce(small, out=broken, seed=3, progress=stopping_at(wanted))
        assert len(rows(broken / f"{small}.nc")) == wanted
    module.reproduce(small, out=broken, seed=3)
    assert len(simulated) == parts  # nothing was simulated twice
    assert not list(broken.glob("*.checkpoint*"))
    xr.testing.assert_identical(data_of(broken, small), expected)
    module.reproduce(small, out=broken, seed=4, force=True)
    assert not data_of(broken, small).equals(expected)
    for array in expected.data_vars.values():  # repeats of different parts have random numbers of their own
        if "repeat" in array.dims and array.dtype.kind == "f" and array.notnull().all():
            assert not array.isel(repeat=0).equals(array.isel(repeat=-1))


@pytest.mark.slow
@pytest.mark.parametrize("small", ["fig-S6"], indirect=True)
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_simulate_the_same_data_and_go_on_with_what_was_begun_here(small, tmp_path, executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
    module.reproduce(small, out=tmp_path / "here", seed=3)
    with pytest.raises(KeyboardInterrupt):
        module.reproduce(small, out=tmp_path / "there", seed=3, progress=stopping_at(1))
    module.reproduce(small, out=tmp_path / "there", seed=3, executor=executor, workers=2)
    xr.testing.assert_identical(data_of(tmp_path / "there", small), data_of(tmp_path / "here", small))


COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored in background jobs
    "from iclglass.cli import main; sys.exit(main())"
)


def command(folder):
    return [sys.executable, "-c", COMMAND, "reproduce", "fig-S6", "--scale", "quick", "--out", str(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_command_goes_on(tmp_path, way):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command(broken), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    start = time.monotonic()
    while not rows(broken / "fig-S6.nc"):
        assert process.poll() is None
        assert time.monotonic() < start + PATIENCE
        time.sleep(0.005)
    process.send_signal(way)
    process.communicate()
    assert process.returncode != 0
    assert rows(broken / "fig-S6.nc")
    assert not (broken / "fig-S6.nc").exists()
    subprocess.run(command(broken), env=environment, check=True, capture_output=True)
    module.reproduce("fig-S6", out=whole)
    xr.testing.assert_identical(data_of(broken, "fig-S6"), data_of(whole, "fig-S6"))


@pytest.mark.slow
def test_mpi_simulates_the_same_data(tmp_path):
    line = ("reproduce", "fig-S6", "--scale", "quick", "--out")
    for folder, more, launcher in (("here", (), PROGRAM), ("there", ("--mpi",), mpi_launcher())):
        with running(*line, folder, *more, folder=tmp_path, launcher=launcher) as process:
            code, _, err = process.finish()
            assert code == 0, err
    xr.testing.assert_identical(data_of(tmp_path / "here", "fig-S6"), data_of(tmp_path / "there", "fig-S6"))
