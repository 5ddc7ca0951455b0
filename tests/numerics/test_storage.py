"""Files: bit for bit there and back, never half a file, one clear error for anything else."""

import gc
import hashlib
import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iclglass.numerics.errors import OutputError
from iclglass.numerics.phase_diagram import phase_diagram
from iclglass.numerics.storage import PROVENANCE, check_writable, load, provenance, replacing, save
from iclglass.numerics.sweep import sweep

ROOT = Path(__file__).resolve().parents[2]


def assert_same_bits(left, right):
    """As `xarray.testing.assert_identical`, and dtypes, and NaN payloads and signs of zero."""
    xr.testing.assert_identical(left, right)
    assert set(left.variables) == set(right.variables)
    for name, variable in left.variables.items():
        other = right.variables[name]
        assert variable.dtype == other.dtype, name
        assert variable.dims == other.dims, name
        assert list(variable.attrs) == list(other.attrs), name
        if variable.dtype.kind in "fiub":
            assert variable.values.tobytes() == other.values.tobytes(), name
        for key, value in variable.attrs.items():
            assert np.asarray(value).dtype == np.asarray(other.attrs[key]).dtype, (name, key)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture
def dataset():
    """With NaN (tau = 1, lam = 0; entropy at T = 0), infinities (chi below tau = 1) and small integers."""
    found = sweep(task_diversity=[0.5, 1.0, 2.0], context_length=1.0, ridge=[0.0, 0.1], temperature=[0.0, 1.0])
    assert np.isnan(found.e_icl).any()
    assert np.isinf(found.chi).any()
    assert np.isneginf(found.free_energy).any()
    return found


def test_a_sweep_and_a_phase_diagram_survive_bit_for_bit(tmp_path, dataset):
    """With their provenance; what is saved is not changed, and what is loaded does not hold the file."""
    lines = ["interpolation-threshold", "contrast=0.7"]
    diagram = phase_diagram(task_diversity=[0.5, 1.5, 2.0], context_length=[0.5, 1.0, 2.0, 4.0], lines=lines)
    for original in (dataset, diagram.to_dataset()):
        before = {name: dict(variable.encoding) for name, variable in original.variables.items()}
        save(original, tmp_path / "a.nc")
        assert {name: variable.encoding for name, variable in original.variables.items()} == before
        found = load(tmp_path / "a.nc")
        (tmp_path / "a.nc").unlink()
        assert_same_bits(found, original)
        assert json.loads(found.attrs[PROVENANCE]) == json.loads(original.attrs[PROVENANCE])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int8, np.int64, np.bool_]), hnp.array_shapes(max_dims=2, max_side=4)
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
)
def test_any_array_and_text_survive(tmp_path, values, text):
    dims = ("x", "y")[: values.ndim]
    original = xr.Dataset({"v": (dims, values, {"note": "a" + text, "level": 0.1})}, attrs={PROVENANCE: "{}"})
    save(original, tmp_path / "a.nc", force=True)
    assert_same_bits(load(tmp_path / "a.nc"), original)


def test_provenance_takes_numpy_values_and_a_seed():
    record = json.loads(provenance({"a": np.float64(0.1), "b": np.arange(3), "c": Path("x")}, seed=7))
    assert record["parameters"] == {"a": 0.1, "b": [0, 1, 2], "c": "x"}
    assert record["seed"] == 7
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    revision = record["git_revision"]
    assert revision is None or (len(revision) == 40 and set(revision) <= set("0123456789abcdef"))


def test_an_existing_file_is_refused_and_left_alone(tmp_path, dataset):
    path = tmp_path / "a.nc"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"a\.nc exists: choose another name, or --force"):
        save(dataset, path)
    assert path.read_bytes() == b"precious"
    save(dataset, path, force=True)
    assert_same_bits(load(path), dataset)


def test_what_is_no_place_for_a_file_is_refused(tmp_path, dataset):
    """--out /dev/null --force as root must not turn the device into a file; a named pipe stands for it here."""
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe.nc")
    for name, message in (
        ("", "is a folder: name a file in it"),
        ("missing/a.nc", "missing is not a folder: create it first"),
        ("file/a.nc", "file is not a folder"),
        ("pipe.nc", "pipe"),
        ("/proc/a.nc", r"/proc/a\.nc cannot be written|/proc is not"),
    ):
        with pytest.raises(OutputError, match=message):
            save(dataset, tmp_path / name, force=True)
    assert stat.S_ISFIFO((tmp_path / "pipe.nc").stat().st_mode)


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    assert check_writable(str(tmp_path / "a.nc"), force=False) == tmp_path / "a.nc"
    assert leftovers(tmp_path) == []
    # Whoever runs the tests may be root, whom permissions do not stop: the answer of the system is put in.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is not writable: choose another folder"):
        check_writable(tmp_path / "a.nc", force=False)


class Interruption(Exception):
    pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Interruption()])
@pytest.mark.parametrize("existing", [b"old", None])
def test_a_failing_write_keeps_the_old_file_and_leaves_nothing(tmp_path, error, existing):
    path = tmp_path / "a.txt"
    if existing is not None:
        path.write_bytes(existing)
    wanted = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted) as caught, replacing(path, force=True) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error
    if isinstance(error, OSError):
        assert "a.txt cannot be written" in str(caught.value)
        assert "No space left" in str(caught.value)
    assert leftovers(tmp_path) == []
    assert (path.read_bytes() if path.exists() else None) == existing


def test_a_dataset_that_cannot_be_written_keeps_the_old_file(tmp_path, dataset):
    path = tmp_path / "a.nc"
    save(dataset, path)
    before = path.read_bytes()
    bad = dataset.assign_attrs(bad={"a dictionary": "is no attribute"})
    with pytest.raises(Exception, match=r"bad|attr|serial"):
        save(bad, path, force=True)
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


def test_the_temporary_file_is_beside_the_target_and_the_reader_sees_the_old_one(tmp_path):
    path, plain = tmp_path / "a.txt", tmp_path / "plain"
    for file in (path, plain):
        file.write_text("old")
    path.chmod(0o600)
    with replacing(path, force=True) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode == plain.stat().st_mode  # the permissions of any new file
    assert leftovers(tmp_path) == []


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error_and_keeps_the_old_file(tmp_path, dataset):
    """A limit on the size of files stands for the full disk: the system refuses the write in the middle."""
    path = tmp_path / "a.nc"
    save(dataset, path)
    before = path.read_bytes()
    done = run(
        """
        import resource, sys
        import numpy as np
        from iclglass.numerics.errors import OutputError
        from iclglass.numerics.storage import save
        from iclglass.numerics.sweep import sweep

        big = sweep(task_diversity=np.linspace(0.1, 4, 20000), context_length=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            save(big, sys.argv[1], force=True)
        except OutputError as error:
            print("refused:", error)
        """,
        path,
    )
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert "a.nc cannot be written" in done.stdout
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_a_killed_save_never_leaves_an_unreadable_file(tmp_path):
    """SIGKILL at ten random moments of a loop of saves; after each the file is whole, one of those written."""
    done = run(
        """
        import os, random, signal, sys, time
        from pathlib import Path
        import numpy as np
        from iclglass.numerics.storage import load, save
        from iclglass.numerics.sweep import sweep

        path = Path(sys.argv[1]) / "a.nc"
        datasets = [sweep(task_diversity=np.linspace(0.1, 4, 3000), context_length=1, ridge=r) for r in (0.1, 0.2)]
        save(datasets[0], path)
        moments = random.Random(7)
        torn = 0
        for _ in range(10):
            child = os.fork()
            if child == 0:
                while True:
                    for dataset in datasets:
                        save(dataset, path, force=True)
            time.sleep(0.02 + 0.1 * moments.random())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found = load(path)
            assert any(found.identical(dataset) for dataset in datasets)
            rest = [other for other in path.parent.iterdir() if other != path]
            torn += bool(rest)
            for other in rest:
                other.unlink()
        print("torn", torn)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    # The loop does little but save: that no kill hit one would mean the test tests nothing.
    assert int(done.stdout.split()[1]) >= 3


def test_what_is_no_file_says_so(tmp_path):
    with pytest.raises(OutputError, match=r"none\.nc does not exist: check the name"):
        load(tmp_path / "none.nc")
    with pytest.raises(OutputError, match="folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"CDF\x01", b"CDF\x02" + bytes(4000), b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4000), b"text\n"],
    ids=["empty", "netcdf3-start", "netcdf3-zeros", "hdf5-start", "hdf5-zeros", "text"],
)
def test_a_foreign_file_is_one_clear_error(tmp_path, content, capfd):
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.nc is damaged or not a netCDF-4 file"):
        load(path)
    # What the library says while its half-open file is collected must not reach the user either.
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_truncated_file_is_one_clear_error_at_every_length(tmp_path, dataset):
    save(dataset, tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    path = tmp_path / "a.nc"
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match="damaged"):
            load(path)
    gc.collect()


def test_a_flipped_bit_anywhere_is_one_clear_error_or_changes_nothing(tmp_path, dataset):
    """In arrays, scalars, names, attributes, and in what leads to them; HDF5, which may not return, is not asked."""
    original = dataset.assign(line_name=("line_vertex", np.array(["peak", "contrast"])))
    save(original, tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    seal = whole.rindex(b"iclglass SHA-256")
    path = tmp_path / "a.nc"
    rng = np.random.default_rng(3)
    for bit in (*rng.integers(8 * seal, size=400), *range(8 * seal, 8 * len(whole), 13)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
        if bit // 8 < seal or bit // 8 >= seal + len("iclglass SHA-256 "):
            with pytest.raises(OutputError, match="is damaged: its bytes are not those that were written"):
                load(path)
        else:  # no seal is found then, and the bytes before it are whole
            assert_same_bits(load(path), original)
    gc.collect()


def test_other_programs_find_a_flipped_bit_in_an_array(tmp_path, dataset):
    """By HDF5's own checksum, small and empty arrays, whatever their encoding was when they were read."""
    save(dataset, tmp_path / "first.nc")
    save(load(tmp_path / "first.nc").assign(empty=("nothing", np.zeros(0))), tmp_path / "a.nc")
    content = (tmp_path / "a.nc").read_bytes()
    for name in ("e_icl", "status", "task_diversity"):
        with h5py.File(tmp_path / "a.nc", "r") as opened:
            place = opened[name].id.get_chunk_info(0).byte_offset
        damaged = bytearray(content)
        damaged[place + 1] ^= 4
        (tmp_path / "b.nc").write_bytes(damaged)
        with h5py.File(tmp_path / "b.nc", "r") as opened, pytest.raises(OSError, match="filter returned failure"):
            opened[name][()]


def test_a_file_that_another_program_has_changed_is_read_and_one_of_its_own_refused(tmp_path, dataset):
    save(dataset, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as found:
        changed = found.isel(ridge=0).assign_attrs(note="mine").load()
    changed.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    assert_same_bits(load(tmp_path / "b.nc"), changed)
    xr.Dataset({"x": ("t", [1.0, 2.0])}).to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(OutputError, match=f"was not written by iclglass: it has no attribute {PROVENANCE}"):
        load(tmp_path / "c.nc")


def test_a_file_of_an_earlier_version_is_read_and_checked(tmp_path, dataset):
    """Without HDF5's checksum, with that of all bytes."""
    content = dataset.to_netcdf(engine="h5netcdf")
    content = bytes(content) + b"\niclglass SHA-256 " + hashlib.sha256(content).hexdigest().encode()
    (tmp_path / "a.nc").write_bytes(content)
    assert_same_bits(load(tmp_path / "a.nc"), dataset)
    (tmp_path / "a.nc").write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
    with pytest.raises(OutputError, match="is damaged"):
        load(tmp_path / "a.nc")
