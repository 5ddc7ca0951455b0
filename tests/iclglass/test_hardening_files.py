"""Damaged files of every kind that is read: what was written or one clear error, the file untouched, nothing hangs.

Every kind of file is made here by the command that writes it, damaged in many ways, and read by the command that reads
it. There is nothing binary in the repository.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pytest
import xarray as xr

import iclglass
from iclglass.cli import main
from iclglass.numerics.archive import read_arrays
from iclglass.numerics.errors import OutputError
from iclglass.numerics.instance.storage import load_instance, save_instance
from iclglass.numerics.running.store import Store
from iclglass.numerics.storage import PROVENANCE, load, save, uninterrupted
from iclglass.validation.paper.figure import Judged, PaperFigure, Verdict

DONE, USAGE, FILE, INTERRUPTED = 0, 2, 5, 130
FAST_FLIPS, SLOW_FLIPS = 2, 80
FAST_FOREIGN = ("a pickle", "deep JSON", "a large file")
MADE = {}
POINT = ["--tau", "2", "--alpha", "1"]
MEASURE = ["--ridge0", "0.1", "--beta", "10", "--json"]
VALIDATE = ["validate", *POINT, "--dimension", "6,8", "--samples", "2", "--workers", "1", "--json", "--out", "v"]
VALIDATE += ["--largest-unseen-bias", "1e9"]
TRAIN = ["train", "--dimension", "3", "--context", "4", "--prompts", "20", "--ridge0", "0.1", "--steps", "5"]
TRAIN += ["--learning-rate", "0.1", "--out", "r.npz", "--json"]


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, how it is written, the command line that reads it.

    exact: one flipped bit is found, or changes nothing. finished: the reader adds to a file that ends early.
    """

    file: str
    write: tuple[str, ...] | None
    read: tuple[str, ...]
    exact: bool = True


KINDS = {
    "configuration": Kind("c.toml", None, ("solve", "--config", "c.toml", "--json"), exact=False),
    "data set, npz": Kind("d.npz", None, ("instance", "--data", "d.npz", *MEASURE)),
    "data set, netCDF": Kind("d.nc", None, ("instance", "--data", "d.nc", *MEASURE)),
    "training run": Kind("r.npz", tuple(TRAIN), tuple(TRAIN)),
    "finished samples": Kind("v/samples.checkpoint", tuple(VALIDATE), tuple(VALIDATE)),
    "figure": Kind("f/fig-0.nc", None, ("reproduce", "fig-1", "--out", "f", "--json")),
    "part of a figure": Kind("f/fig-0.nc.checkpoint", None, ("reproduce", "fig-1", "--out", "f", "--json")),
    "output of a sweep": Kind(
        "a.nc", ("sweep", "--tau", "1.5:3:3", "--alpha", "1", "--out", "a.nc"), ("sweep", "--status", "a.nc")
    ),
}


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    """A figure of one part in place of the paper's, and no pictures: what is tested here is reading."""
    import matplotlib.figure

    import iclglass.validation.paper.reproduce as module

    def simulate(given, seed, compute):
        (part,) = compute({"one": lambda: xr.Dataset({"x": ("i", np.arange(3.0))})})
        return xr.Dataset({"x": ("i", 2 * part.x.values)})

    figure = PaperFigure(
        name="fig-0",
        title="a stand-in",
        parameters=lambda scale: {"size": 3},
        simulate=simulate,
        draw=lambda data, published: matplotlib.figure.Figure(),
        judge=lambda data, published: Verdict(f"{data.x.values.tolist()}", (), (Judged("x", False, 0.1),)),
        published=("fig-0/data/a.npy",),
    )
    monkeypatch.setattr(module, "get", lambda name: figure)
    monkeypatch.setattr("iclglass.numerics.plotting.draw_extrapolation", lambda agreement: matplotlib.figure.Figure())
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, path, **options: Path(path).write_text("x"))


def data():
    return iclglass.draw_prompts(dimension=3, context=4, prompts=20, rng=np.random.default_rng(0))


def run(arguments):
    """Exit code, stdout, stderr; warnings are errors, and so exit code 1."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def written(kind):
    """The bytes of the file as the program writes it, made once."""
    if kind not in MADE:
        clean()
        MADE[kind] = made(kind)
    put(kind, MADE[kind])
    return MADE[kind]


def made(kind):
    file = Path(kind.file)
    if kind.file == "c.toml":
        file.write_text("# a point\ntau = 2\nalpha = 1.5\nlam = 0.25\n", encoding="utf-8")
    elif kind.file.startswith("d."):
        save_instance(data(), file, seed=0)
    elif kind.file.startswith("f/"):
        Path("f").mkdir(exist_ok=True)
        with patch.object(Store, "remove"):  # the parts stay, as an interrupted run leaves them
            assert run(kind.read)[0] == DONE
    else:
        code, _, err = run(kind.write)
        assert code == DONE, err
    return file.read_bytes()


def clean():
    for path in sorted(Path().rglob("*"), reverse=True):
        if path.is_file() or path.is_symlink() or path.is_fifo():
            path.unlink()


def put(kind, content):
    """The damaged file alone, as if nothing had been read from it before."""
    clean()
    Path(kind.file).parent.mkdir(exist_ok=True)
    Path(kind.file).write_bytes(content)


def cuts(whole):
    """Truncations: nothing, one byte, a half, all but one."""
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        yield f"cut to {length} bytes", whole[:length]


def flips(whole, count):
    """One bit flipped, at places spread over the file."""
    rng = np.random.default_rng(5)
    for place in np.linspace(0, len(whole) - 1, count).astype(int):
        bit = int(rng.integers(8))
        content = bytearray(whole)
        content[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} flipped", bytes(content)


FOREIGN = {
    "text": b"This is not the file that was meant.\n" * 20,
    "zeros": bytes(5000),
    "a pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "a zip without arrays": None,
    "HDF5 by its first bytes": b"\x89HDF\r\n\x1a\n" + bytes(300),
    "JSON": b'{"format": "another"}\n',
    "deep JSON": b"[" * 100_000 + b"\n",
    "deep TOML": b"tau = " + b"[" * 100_000,
    "UTF-16": "tau = 2\n".encode("utf-16"),
    "a long number": b"tau = " + b"9" * 10_000,
    "a large file": b"# comment\n" * 200_000,
}


def one_line(err):
    """The error is one line, the last; before it a figure's title may stand."""
    *before, last = err.splitlines()
    assert last.startswith("iclglass: error: "), err
    assert before in ([], [line for line in before if line.startswith("fig-1 (1 of 1)")]), err
    assert last.isprintable(), err


def judged(kind, what, good, content):
    """Read a damaged file: the result of the good one, or one line and the file as it was. True if refused."""
    code, out, err = run(kind.read)
    message = f"{kind.file}, {what}: exit code {code}\n{err}"
    assert "Traceback" not in err, message
    if code in (FILE, USAGE):
        assert out == "", message
        one_line(err)
        assert Path(kind.file).read_bytes() == content, message
        return True
    assert code == DONE, message
    if kind.exact:
        assert out == good, f"{message}\n{out}"
    return False


@pytest.mark.parametrize("name", KINDS)
def test_truncated_and_foreign_files(name):
    corpus(KINDS[name], FAST_FLIPS, FAST_FOREIGN)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_flipped_bits_and_all_foreign_files(name):
    corpus(KINDS[name], SLOW_FLIPS, tuple(FOREIGN))


def corpus(kind, count, others):
    whole = written(kind)
    code, good, err = run(kind.read)
    assert code == DONE, err
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    foreign = {**FOREIGN, "a zip without arrays": buffer.getvalue()}
    refused = 0
    for what, content in (*cuts(whole), *flips(whole, count)):
        put(kind, content)
        refused += judged(kind, what, good, content)
    # Not every flipped bit means something; most do. Much of a small archive is its provenance, which is not read.
    # Nor is all of a page of SQLite's used.
    least = {"c.toml": 1, KINDS["data set, npz"].file: count // 10}
    least |= {KINDS[name].file: count // 5 for name in ("finished samples", "part of a figure")}
    assert refused >= least.get(kind.file, count // 2), refused
    for what in others:
        put(kind, foreign[what])
        assert judged(kind, what, good, foreign[what]), what


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
def test_a_pipe_or_a_device_without_end(name, what):
    no_file(KINDS[name], what)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["folder", "/dev/null", "/dev/full", "nowhere", "itself"])
def test_what_is_no_file(name, what):
    no_file(KINDS[name], what)


def no_file(kind, what):
    """No hang: an exit code within a moment."""
    path = Path(kind.file)
    path.parent.mkdir(exist_ok=True)
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name if what == "itself" else what if what.startswith("/") else "no-such-file")
    before = path.lstat()
    code, out, err = run(kind.read)
    if what in ("nowhere", "itself") and code == DONE:
        # A name that leads nowhere is free: the command writes its output there.
        assert kind.read == kind.write or kind.file.startswith("f/")
        return
    assert code in (FILE, USAGE), (code, err)
    assert out == ""
    one_line(err)
    assert path.lstat().st_mode == before.st_mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", KINDS)
def test_files_that_may_not_be_read(name):
    kind = KINDS[name]
    written(kind)
    Path(kind.file).chmod(0)
    code, out, _ = run(kind.read)
    assert (code, out) == (FILE, "")


# --- arrays ----------------------------------------------------------------------------------------------------


def header(descr="<f8", shape="(10,)", extra=""):
    """The first bytes of an .npy file that says so of itself."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, {extra}}}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


ARRAYS = {
    "8 TB by its header": header(shape="(1000000000000,)") + bytes(80),
    "8 GB by its header": header(shape="(1000000000,)") + bytes(80),
    "a shape beyond integers": header(shape="(99999999999999999999999,)") + bytes(80),
    "a product beyond integers": header(shape="(4294967296, 4294967296, 4294967296)") + bytes(80),
    "a negative shape": header(shape="(-1,)") + bytes(80),
    "a shape of text": header(shape="('a',)") + bytes(80),
    "a shape that is a call": header(shape="__import__('os').system('true')") + bytes(80),
    "a deep header": header(shape="(" * 4000 + ")" * 4000) + bytes(80),
    "an unknown type": header(descr="<q9") + bytes(80),
    "objects": header(descr="|O", shape="(1,)") + b"\x80\x04N.",
    "another version": b"\x93NUMPY\x09\x00" + header()[8:] + bytes(80),
    "no header": b"\x93NUMPY",
    "nothing": b"",
    "text": b"1 2 3\n",
}


def archive_of(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_that_is_none_is_refused_without_being_allocated(what):
    kind = KINDS["data set, npz"]
    good = {name: npy(getattr(data(), name)) for name in ("context", "query", "label")}
    put(kind, archive_of(**{**good, "label": ARRAYS[what]}))
    before = psutil.Process().memory_info().rss
    assert judged(kind, what, "", Path(kind.file).read_bytes())
    assert psutil.Process().memory_info().rss - before < 2e8


VALUES = {
    "NaN": {"label": np.full(20, np.nan)},
    "infinity": {"query": np.full((20, 3), np.inf)},
    "complex": {"label": np.ones(20) * 1j},
    "text": {"label": np.array(["1"] * 20)},
    "booleans": {"label": np.ones(20, bool)},
    "times": {"label": np.zeros(20, "datetime64[s]")},
    "records": {"label": np.zeros(20, [("a", "f8")])},
    "another shape": {"label": np.ones(19)},
    "a row too many": {"query": np.ones((21, 3))},
    "no prompts": {"context": np.ones((0, 4)), "query": np.ones((0, 3)), "label": np.ones(0)},
    "no dimension": {"context": np.ones((20, 1)), "query": np.ones((20, 0))},
    "a number": {"label": np.float64(1)},
    "pickled objects": {"label": np.array([Trap()] * 20, dtype=object)},
    "only others": {"context": None},
}


@pytest.mark.parametrize("what", VALUES)
def test_arrays_of_bad_values_in_a_file_are_its_damage(what):
    """Exit code 5: what is wrong is in the file, not in an option."""
    kind = KINDS["data set, npz"]
    arrays = {name: getattr(data(), name) for name in ("context", "query", "label")} | VALUES[what]
    put(kind, archive_of(**{name: npy(array) for name, array in arrays.items() if array is not None}))
    before = Path(kind.file).read_bytes()
    code, out, err = run(kind.read)
    assert (code, out) == (FILE, ""), err
    assert "d.npz" in err
    assert err.count("\n") == 1
    assert Path(kind.file).read_bytes() == before
    assert not Path("ran").exists()


def test_a_netcdf_of_bad_values_is_damage_too():
    kind = KINDS["data set, netCDF"]
    arrays = {name: getattr(data(), name) for name in ("context", "query", "label")}
    arrays["label"] = np.full(20, np.nan)
    dims = {"context": ("p", "r"), "query": ("p", "c"), "label": ("p",)}
    dataset = xr.Dataset({name: (dims[name], array) for name, array in arrays.items()}, attrs={PROVENANCE: "{}"})
    save(dataset, "d.nc")
    assert run(kind.read)[0] == FILE
    save(dataset.drop_vars("label"), "d.nc", force=True)
    assert run(kind.read)[0] == FILE


def test_an_archive_that_unpacks_beyond_memory_is_refused_before_it_is_unpacked(monkeypatch):
    np.savez_compressed("d.npz", context=np.zeros((4000, 4)), query=np.zeros((4000, 3)), label=np.zeros(4000))
    assert Path("d.npz").stat().st_size < 3000
    free = type("Memory", (), {"available": 100_000})()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, name: pytest.fail("unpacked"))
    with pytest.raises(OutputError, match="does not fit in memory"):
        load_instance("d.npz")


@pytest.mark.parametrize(("place", "value"), [(8, 99), (6, 1)], ids=["unknown compression", "encrypted"])
def test_members_that_cannot_be_unpacked(place, value):
    """Method and flags stand in the local header and in the directory."""
    content = bytearray(archive_of(label=npy(np.ones(3))))
    content[place] = value
    content[content.index(b"PK\x01\x02") + place + 2] = value
    Path("d.npz").write_bytes(bytes(content))
    with pytest.raises(OutputError, match="damaged"):
        read_arrays("d.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("header", np.array("{}")),
        ("header", np.array("[" * 100_000)),
        ("header", np.ones(3)),
        ("header", "version"),
        ("step", np.array(-1)),
        ("step", np.array(10**6)),
        ("step", np.array(np.nan)),
        ("step", np.array([1, 2])),
        ("parameters_0", np.ones((3, 4))),
        ("parameters_0", np.ones((4, 3), np.float32)),
        ("parameters_0", np.array([Trap()], dtype=object)),
        ("first_0", np.ones(3)),
        ("log", np.ones(3)),
        ("log", np.full((3, 5), np.nan)),
        ("log", np.array([Trap()], dtype=object)),
        ("log", None),
    ],
)
def test_a_training_run_that_no_run_has_written(name, value):
    kind = KINDS["training run"]
    written(kind)
    with np.load("r.npz", allow_pickle=False) as file:
        arrays = dict(file)
    if isinstance(value, str):
        value = np.array(str(arrays["header"]).replace('"schema_version": 5', '"schema_version": 99'))
    arrays[name] = value
    content = archive_of(**{name: npy(array) for name, array in arrays.items() if array is not None})
    put(kind, content)
    assert judged(kind, name, "", content)
    assert not Path("ran").exists()


# --- the published data and the suite --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("what", [*ARRAYS, "NaN", "complex", "pickled", "folder"])
def test_published_arrays_that_are_none_are_left_out_with_a_remark(what):
    """The figure needs them only for its overlay: it is made without."""
    file = Path("p/fig-0/data/a.npy")
    file.parent.mkdir(parents=True)
    special = {"NaN": npy(np.full(3, np.nan)), "complex": npy(np.ones(3) * 1j), "pickled": npy(np.array([Trap()]))}
    if what == "folder":
        file.mkdir()
        Path("p/fig-0/data/b.npy").write_bytes(npy(np.ones(3)))
    else:
        file.write_bytes({**ARRAYS, **special}[what])
    Path("f").mkdir()
    code, _, err = run(["reproduce", "fig-1", "--published", "p", "--out", "f"])
    assert code == DONE, err
    assert "Traceback" not in err
    assert "Warning" not in err
    assert not Path("ran").exists()
    if what != "NaN":  # what NaN means is for each figure to say
        assert "fig-0/data/a.npy is" in err


@pytest.mark.parametrize(
    "content",
    [
        b"text\n",
        b"\xff\n" * 100,
        None,
        b'{"format": "iclglass finite-size samples", "schema_version": 3, "parameters": {}}\n',
    ],
)
def test_a_damaged_folder_of_the_suite(content):
    path = Path("s/samples.checkpoint")
    path.parent.mkdir()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    code, out, err = run(["validate", "--suite", "standard", "--out", "s"])
    assert code == FILE, err
    assert (out, err.count("\n")) == ("", 1)
    assert content is None or path.read_bytes() == content


# --- netCDF: the seal ------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_an_output_is_found():
    """netCDF itself has no checksum: a bit of a number would be another number."""
    save(iclglass.sweep(task_diversity=[0.5, 2.0], context_length=1.0), "a.nc")
    whole = Path("a.nc").read_bytes()
    seal = whole.rindex(b"\niclglass SHA-256 ")
    found = 0
    places = np.random.default_rng(1).integers(len(whole), size=40)
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1 << int(place) % 8
        Path("a.nc").write_bytes(bytes(content))
        try:
            load("a.nc")
        except OutputError:
            found += 1
        else:
            assert place >= seal, place
    assert found >= 30


def test_other_programs_read_and_may_change_an_output():
    import h5py

    dataset = iclglass.sweep(task_diversity=[0.5, 2.0], context_length=1.0)
    save(dataset, "a.nc")
    with xr.open_dataset("a.nc", engine="h5netcdf") as found:
        assert found.load().identical(dataset)
    with h5py.File("a.nc", "r+") as file:
        file["m"][...] = 7.0
    assert np.all(load("a.nc").m == 7.0)
    with xr.open_dataset("a.nc", engine="h5netcdf") as found:
        found.load().assign_attrs(note="mine").to_netcdf("b.nc", engine="h5netcdf")
    assert load("b.nc").note == "mine"


# --- Ctrl-C while a file is written ----------------------------------------------------------------------------

SWEEP = ["sweep", "--tau", "0.5:2:4", "--alpha", "1", "--out", "a.nc"]


@pytest.fixture
def interruptible():
    """Ctrl-C raises, whatever a shell in the background has made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_file_is_written_ends_with_130_and_a_whole_file(monkeypatch, interruptible):
    write = xr.Dataset.to_netcdf
    swallowed = []

    class Dies:
        """What libraries leave to the garbage collector: an exception there is printed and dropped."""

        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            swallowed.append(1)

    def interrupted(self, *arguments, **options):
        Dies()
        return write(self, *arguments, **options)

    monkeypatch.setattr(xr.Dataset, "to_netcdf", interrupted)
    code, _, err = run(SWEEP)
    assert swallowed == [1]
    assert code == INTERRUPTED
    assert err.endswith("iclglass: interrupted\n")
    assert sorted(str(path) for path in Path().iterdir()) == ["a.nc"]
    assert load("a.nc").sizes["task_diversity"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_is_not_held_back_and_leaves_nothing(monkeypatch, interruptible):
    def stuck(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", stuck)
    assert run(SWEEP)[0] == INTERRUPTED
    assert list(Path().iterdir()) == []


def test_interrupts_are_held_back_in_the_main_thread_only_and_handlers_come_back(interruptible):
    reached = []

    def interrupted():
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached
    with uninterrupted(), uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
def test_one_interrupt_of_a_process_that_does_nothing_but_save_ends_it():
    """Twelve times at random moments: without holding it back two in fifteen were swallowed."""
    code = """
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import numpy as np
        from iclglass.numerics.storage import load, save
        from iclglass.numerics.sweep import sweep
        dataset = sweep(task_diversity=np.linspace(0.1, 4, 2000), context_length=1)
        save(dataset, "a.nc", force=True)
        print("ready", flush=True)
        try:
            while True:
                save(dataset, "a.nc", force=True)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    pauses = np.random.default_rng(8).uniform(0, 0.1, size=12)
    for pause in pauses:
        process = subprocess.Popen(
            [sys.executable, "-c", lines], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            pytest.fail("the interrupt was swallowed")
        assert (process.returncode, err) == (INTERRUPTED, "")
        load("a.nc")
        assert [path.name for path in Path().iterdir()] == ["a.nc"]
