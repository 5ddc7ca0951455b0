"""Data sets there and back bit for bit; files that are not data sets are refused, and never run code."""

import io
import json
import os
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
import xarray as xr

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.solve import solve_instance
from iclglass.numerics.instance.storage import load_instance, load_solution, save_instance, save_solution
from iclglass.numerics.storage import PROVENANCE, load, save


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def make(dtype: type = np.float64) -> Instance:
    rng = np.random.default_rng(0)
    shapes = ((6, 4), (6, 3), (6,))
    return Instance(*(rng.standard_normal(shape).astype(dtype) for shape in shapes))


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_bit_for_bit(tmp_path, suffix, dtype):
    instance, path = make(dtype), tmp_path / f"data{suffix}"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        save_instance(instance, path)
    assert path.read_text() == "mine"
    save_instance(instance, path, parameters={"ridge0": 0.1}, seed=3, force=True)
    found = load_instance(path)
    for name in ("context", "query", "label"):
        assert getattr(found, name).dtype == dtype
        assert getattr(found, name).tobytes() == getattr(instance, name).tobytes()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    text = str(np.load(path, allow_pickle=False)[PROVENANCE]) if suffix == ".npz" else load(path).attrs[PROVENANCE]
    record = json.loads(text)
    assert record["parameters"] == {"prompts": 6, "dimension": 3, "ridge0": 0.1}
    assert record["seed"] == 3


@pytest.mark.parametrize("ridge0", [0.0, 0.1])  # without ridge: infinite variances and free energy
@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_a_solution_is_written_whole(tmp_path, suffix, ridge0):
    solution, path = exact(make(), ridge0=ridge0, beta=2.0, road="cg" if ridge0 else "auto"), tmp_path / f"s{suffix}"
    save_solution(solution, path, parameters={"ridge0": ridge0}, seed=4)
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    else:
        dataset = load(path)
        found = {name: variable.values for name, variable in dataset.variables.items()} | dataset.attrs
    arrays, numbers = ("mean", "variance", "variance_error", "history"), ("log_partition", "free_energy", "residual")
    for name in (*arrays, *numbers, "iterations"):
        np.testing.assert_array_equal(found[name], getattr(solution, name), err_msg=name)
    assert np.isnan(found["spectral_radius"])
    assert [str(found[name]) for name in ("method", "status", "reason")] == ["exact", "CONVERGED", solution.reason]
    assert json.loads(str(found[PROVENANCE]))["seed"] == 4
    with pytest.raises(OutputError, match="exists"):
        save_solution(solution, path)


def test_a_solution_comes_back_whole_and_one_whose_free_energy_was_another_is_refused(tmp_path):
    """Before there was log_partition, free_energy was in the flat measure dW."""
    solution, path = exact(make(), ridge0=0.1, beta=2.0), tmp_path / "s.nc"
    save_solution(solution, path)
    found = load_solution(path)
    for name in (*(field.name for field in fields(solution)), "free_energy"):
        np.testing.assert_array_equal(getattr(found, name), getattr(solution, name), err_msg=name)
    save(load(path).drop_vars("log_partition"), tmp_path / "old.nc")
    with pytest.raises(OutputError, match=r"old.nc is of an earlier format, .* solve the data set again"):
        load_solution(tmp_path / "old.nc")


def test_a_users_own_arrays(tmp_path):
    rng = np.random.default_rng(1)
    tokens, labels, query, label = (rng.standard_normal(shape) for shape in ((5, 4, 3), (5, 4), (5, 3), (5,)))
    path = tmp_path / "tokens.npz"
    np.savez_compressed(path, tokens=tokens, labels=labels, query=query, label=label, other=np.ones(3))
    for norm, divisor in ((None, 4), ("N", 4), ("N+1", 5)):
        found = load_instance(path, norm=norm)
        np.testing.assert_allclose(found.context[:, 3], np.sum(labels**2, axis=1) / divisor, 1e-13)
    with pytest.raises(ParameterError, match="norm must be one of"):
        load_instance(path, norm="n")
    reduced = tmp_path / "reduced.npz"
    np.savez(reduced, context=np.ones((5, 4), int), query=query, label=label)
    assert load_instance(str(reduced)).context.dtype == np.float64
    with pytest.raises(ParameterError, match="contexts, which are divided by their norm already"):
        load_instance(reduced, norm="N")


def test_pickled_objects_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    path = tmp_path / "trap.npz"
    trapped = np.array([Trap()] * 5, dtype=object)
    np.savez(path, context=rng.standard_normal((5, 4)), query=rng.standard_normal((5, 3)), label=trapped)
    with pytest.raises(OutputError, match="holds pickled objects, which could run code: save plain arrays"):
        load_instance(path)
    np.save(tmp_path / "bare.npy", trapped, allow_pickle=True)
    (tmp_path / "bare.npy").rename(tmp_path / "bare.npz")
    with pytest.raises(OutputError, match="not a zip archive"):
        load_instance(tmp_path / "bare.npz")
    assert not (tmp_path / "ran").exists()


def huge_header() -> bytes:
    """An array of 8 TB by its header, of 3 bytes by its content."""
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + b"abc"


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 100, b"\x80\x04N."])
def test_foreign_files_are_one_clear_error(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="damaged or not"):
        load_instance(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", huge_header()])
def test_damaged_arrays_in_an_archive(tmp_path, content):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("context.npy", content)
    with pytest.raises(OutputError, match=r"damaged or not an \.npz|pickled objects|lacks"):
        load_instance(path)


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_truncated_and_flipped_files(tmp_path, suffix):
    """Every cut and a hundred flipped bytes: the data set itself, or OutputError, and nothing else."""
    path = tmp_path / f"x{suffix}"
    save_instance(make(), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    spoiled = [whole[:cut] for cut in rng.integers(0, len(whole) - 1, 30)]
    for position in rng.integers(0, len(whole), 100):
        flipped = bytearray(whole)
        flipped[position] ^= 0xFF
        spoiled.append(bytes(flipped))
    refused = 0
    for content in spoiled:
        path.write_bytes(content)
        try:
            assert load_instance(path).prompts >= 1
        except OutputError:
            refused += 1
    assert refused >= 30


def test_missing_names_and_arrays_that_are_no_data_set(tmp_path):
    path, good = tmp_path / "x.npz", {"context": np.ones((2, 3)), "query": np.ones((2, 2))}
    for arrays, message in (
        ({"context": np.ones((2, 3)), "weights": np.ones(2)}, "lacks query, label: it holds context; a data set needs"),
        ({"tokens": np.ones((2, 3, 4)), "query": np.ones((2, 4))}, "lacks labels, label"),
        (good | {"label": np.array([1.0, np.nan])}, r"x\.npz holds no data set: label\[1\] is nan"),
        (good | {"label": np.ones(2) * 1j}, "label must be a real number"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(OutputError, match=message):
            load_instance(path)
    save(xr.Dataset({"query": ("x", [1.0])}, attrs={PROVENANCE: "{}"}), tmp_path / "x.nc")
    with pytest.raises(OutputError, match="lacks context, label"):
        load_instance(tmp_path / "x.nc")


def test_paths(tmp_path):
    for path in ("x.npy", "x", "x.pkl"):
        for call in (load_instance, lambda path: save_instance(make(), path)):
            with pytest.raises(ParameterError, match=r"must end in \.npz or \.nc"):
                call(path)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        load_instance(tmp_path / "folder.npz")
    for suffix in (".npz", ".nc"):
        with pytest.raises(OutputError, match="does not exist"):
            load_instance(tmp_path / f"none{suffix}")


def test_the_programs_that_worked_on_a_solution_are_kept_when_it_is_saved_again(tmp_path):
    """Whoever resumed anyway stays named."""
    two = ({"modules": {"a": "1"}, "numpy": "1"}, {"modules": {"a": "2"}, "numpy": "1"})
    solution = replace(solve_instance(make(), ridge0=0.1, beta=2.0), programs=two)
    save_solution(solution, tmp_path / "a.nc")
    again = load_solution(tmp_path / "a.nc")
    assert [sorted(each) for each in again.programs] == [["numpy", "source"]] * 2
    save_solution(again, tmp_path / "b.nc")
    assert load_solution(tmp_path / "b.nc").programs == again.programs
