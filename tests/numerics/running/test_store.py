"""The store: what it keeps, what it refuses, damaged and foreign files, two drivers, full disks."""

import json
import math
import os
import random
import sqlite3
import struct
import subprocess
import sys
import textwrap
from contextlib import closing

import numpy as np
import pytest

import iclglass.numerics.running.store as module
from iclglass.numerics.errors import OutputError, ParameterError, WorkerError
from iclglass.numerics.running.store import Row, checkpoint_path, locked, open_store, read_progress
from tests.numerics.running.killing import ROOT

PARAMETERS = {"road": "simulation", "task_diversity": [0.5, 1.0], "seed": 0}
PROGRAM = {"modules": {"iclglass.a": "1"}, "numpy": "2.0"}
REFUSED = r"not an unfinished sweep|cannot be used|is damaged"
FLIPS = 60
"""Bits flipped, each in a copy of its own; about 1 in 20 of the file's bytes are those of values."""


def opened(path, parameters=None, here=PROGRAM, *, total=100, width=3, **options):
    return open_store(path, "sweep", parameters or PARAMETERS, here, total=total, width=width, **options)


def row(number, status=0, message=""):
    return Row(np.array([float(number), number / 3, -float(number)]), status, message, 0.25)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nc.checkpoint"


@pytest.fixture
def begun(path):
    """A store of 40 rows of 100."""
    with opened(path) as store:
        store.record({number: row(number) for number in range(40)})
    return path


def rows_of(path, **options):
    with opened(path, **options) as store:
        return dict(store.done)


# --- what is kept ----------------------------------------------------------------------------------------------


def test_rows_come_back_bit_for_bit(path):
    payload_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    odd = np.array([math.nan, payload_nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 1.7976931348623157e308])
    written = {
        7: Row(odd, 0, "", 0.1),
        10**6: Row(odd[::-1].reshape(2, 4), 2, 'not "converged"; λ \n', 1e-9),
        "active": Row(np.array([3, -1])),
        "step": Row(np.array(5)),
        "file": Row(np.frombuffer(b"\0\xff", dtype=np.uint8)),
        "none": Row(np.empty((0, 3))),
    }
    with opened(path, width=None) as store:
        store.record(written)
    found = rows_of(path, width=None)
    assert found == written
    assert set(map(type, found)) == {int, str}
    assert found[7] != Row(odd, 0, "", 0.2)
    assert found[7] != Row(-odd, 0, "", 0.1)


def test_each_record_is_on_disk_for_another_process_when_it_returns(path):
    with opened(path) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for number in range(3):
            store.record({number: row(number)})
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as other:
                assert other.execute("SELECT count(*) FROM row").fetchone() == (number + 1,)


def test_a_task_that_is_tried_again_replaces_its_failure(path):
    with opened(path) as store:
        store.record({3: row(3, 5, "lost")})
        store.record({3: row(3)})
    assert rows_of(path) == {3: row(3)}


def test_nothing_is_left_where_nothing_finished_or_after_success(tmp_path, path):
    with opened(path):
        assert path.exists()
    with pytest.raises(ZeroDivisionError), opened(path):
        raise ZeroDivisionError
    with opened(path) as store:
        store.record({0: row(0)})
        store.remove()
    with opened(None) as store:
        store.record({0: row(0)})
        assert store.done == {0: row(0)}
        store.remove()
    assert list(tmp_path.iterdir()) == []


def test_fresh_begins_anew(begun):
    with opened(begun, {"other": 1}, fresh=True) as store:
        assert store.done == {}
        store.record({1: row(1)})
    assert rows_of(begun, parameters={"other": 1}) == {1: row(1)}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WorkerError("gone"), ZeroDivisionError("0")])
@pytest.mark.parametrize("kept", [True, False])
def test_that_what_was_finished_is_kept_is_said_where_it_is_true(path, error, kept):
    def stops(where):
        with opened(where) as store:
            if kept:
                store.record({0: row(0)})
            raise error

    with pytest.raises(type(error)) as raised:
        stops(path)
    said = "what was finished is kept in" in str(raised.value)
    assert said == (kept and not isinstance(error, ZeroDivisionError))
    assert path.exists() == kept
    error.args = ()
    with pytest.raises(type(error), match=r"^$"):
        stops(None)


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1, "task_diversity": [0.5, 2.0]}, r"seed is 0 there and 1 here; task_diversity is .*--force"),
        ({"new": 3}, "new is None there and 3 here"),
    ],
)
def test_other_parameters_are_refused_by_name(begun, change, message):
    with pytest.raises(ParameterError, match=rf"holds a sweep of other parameters: {message}"):
        rows_of(begun, parameters=PARAMETERS | change)
    assert len(rows_of(begun)) == 40


def change(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("schema_version", "99", r"of schema version 99, this program writes 5: finish it with"),
        ("format", "iclglass validation", r"holds a validation, not a sweep: choose another output"),
        ("format", "another program's", r"is not an unfinished sweep: choose another output"),
    ],
)
def test_other_formats_are_refused(begun, name, value, message):
    change(begun, "UPDATE meta SET value = ? WHERE key = ?", value, name)
    for use in (rows_of, lambda path: read_progress(path, "sweep")):
        with pytest.raises(OutputError, match=message):
            use(begun)


def test_another_version_of_the_program_is_refused_or_taken_and_said(begun):
    other = PROGRAM | {"numpy": "9.9"}
    with pytest.raises(OutputError, match=r"another version .*'9\.9' here.*must not be mixed.*--resume-anyway"):
        rows_of(begun, here=other)
    assert read_progress(begun, "sweep").finished == 40  # but one may look
    with opened(begun, here=other, resume_anyway=True) as store:
        assert store.programs == [PROGRAM, other]
    with opened(begun, here=other) as store:  # it has been said
        assert len(store.done) == 40
    with pytest.raises(OutputError, match="another version"):
        rows_of(begun)


def test_rows_of_another_width_are_damage(begun):
    with pytest.raises(OutputError, match=r"is damaged.*row 0 has values of shape \(3,\), not \(4,\)"):
        rows_of(begun, width=4)


DIES_WRITING = """
    import os, sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute({before!r})
    connection.execute("PRAGMA cache_size = 1")  # so that the unfinished transaction is in the file
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE big (text)")
    connection.executemany("INSERT INTO big VALUES (?)", [("x" * 5000,)] * 50)
    os._exit(9)
"""


def die_writing(path, before):
    subprocess.run([sys.executable, "-c", textwrap.dedent(DIES_WRITING.format(before=before)), path], check=False)


def test_a_driver_that_died_while_it_made_the_file(path):
    """Its rollback journal is beside the file: to look changes nothing, to resume undoes what it had begun."""
    die_writing(path, "SELECT 1")
    journal = path.with_name("a.nc.checkpoint-journal")
    before = path.read_bytes(), journal.read_bytes()
    assert len(before[0]) > 100_000
    with pytest.raises(OutputError, match=r"is empty: its driver has not begun, or died before it did"):
        read_progress(path, "sweep")
    assert (path.read_bytes(), journal.read_bytes()) == before
    with opened(path) as store:
        assert store.done == {}
        assert read_progress(path, "sweep").points == 100
    path.write_bytes(b"")
    assert rows_of(path) == {}


def test_a_driver_that_died_before_its_first_row(begun):
    """Between the tables and the WAL: the journal is undone in a copy, the file says 0 of 100."""
    change(begun, "DELETE FROM row")
    die_writing(begun, "PRAGMA journal_mode = DELETE")
    before = begun.read_bytes()
    found = read_progress(begun, "sweep")
    assert (found.points, found.finished, found.running) == (100, 0, False)
    assert begun.read_bytes() == before


@pytest.mark.parametrize("content", ["my thesis\n" * 500, "x", "x" * 300, b"SQLite format 3\0" + bytes(5000)])
def test_foreign_files_are_refused_left_alone_and_replaced_when_asked(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    for use in (rows_of, lambda file: read_progress(file, "sweep")):
        with pytest.raises(OutputError, match=REFUSED):
            use(path)
    assert path.read_bytes() == before
    assert rows_of(path, fresh=True) == {}


@pytest.mark.parametrize("tables", [["accounts"], ["meta", "row"]])
def test_databases_of_others_are_refused_and_left_alone(path, tables):
    for table in tables:
        change(path, f"CREATE TABLE {table} (a INTEGER)")
    before = path.read_bytes()
    for use in (rows_of, lambda file: read_progress(file, "sweep")):
        with pytest.raises(OutputError, match=REFUSED):
            use(path)
    assert path.read_bytes() == before


def test_folders_and_pipes_are_one_clear_error(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        for fresh in (False, True):
            with pytest.raises(OutputError, match=name):
                rows_of(tmp_path / name, fresh=fresh and name == "folder")
        with pytest.raises(OutputError, match="does not exist: no sweep was begun there"):
            read_progress(tmp_path / name, "sweep")


def unless_refused(path, use):
    """What the function gives, or None where it refuses the file by its name; any other error is not caught."""
    try:
        return use(path)
    except (OutputError, ParameterError) as error:
        message = str(error)
    assert str(path) in message
    return None


def assert_never_wrong(found):
    """What is not refused holds nothing that was not written."""
    for number, one in (found or {}).items():
        assert one == row(number)


def test_flipped_bits_are_refused_or_harmless(begun):
    original, chance, refused = begun.read_bytes(), random.Random(1), 0
    for _ in range(FLIPS):
        damaged = bytearray(original)
        # some in the header, the others anywhere
        place = chance.randrange(100) if chance.random() < 0.2 else chance.randrange(len(original))
        damaged[place] ^= 1 << chance.randrange(8)
        begun.write_bytes(damaged)
        unless_refused(begun, lambda path: read_progress(path, "sweep"))
        found = unless_refused(begun, rows_of)
        refused += found is None
        assert_never_wrong(found)
    assert refused > FLIPS / 20


def test_a_flipped_bit_in_a_value_is_noticed(begun):
    original, value = begun.read_bytes(), row(30).values.tobytes()
    assert original.count(value) == 1
    damaged = bytearray(original)
    damaged[original.index(value) + 3] ^= 16
    begun.write_bytes(damaged)
    with pytest.raises(OutputError, match=r"is damaged.*row 30 is not what was written"):
        rows_of(begun)


def test_a_row_of_objects_is_refused(begun):
    """No pickle is ever read, though its checksum may be right."""
    record = row(2)._told()
    form = "|O8 3"
    checksum = module._checksum(2, *record[:3], form, bytes(row(2)._data))
    change(begun, "UPDATE row SET form = ?, checksum = ? WHERE key = 2", form, checksum)
    with pytest.raises(OutputError, match=r"row 2 is of type \|O8"):
        rows_of(begun)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(begun, part):
    content = begun.read_bytes()
    begun.write_bytes(content[: int(part * len(content))])
    found = unless_refused(begun, rows_of)
    assert_never_wrong(found)
    # The last bytes of the last page may be those that nothing uses: then nothing is lost.
    assert found is None or (part == 0.999 and len(found) == 40)


# --- two drivers, status ---------------------------------------------------------------------------------------


def test_a_second_driver_is_refused_and_the_first_is_undisturbed(tmp_path, path):
    with opened(path) as first:
        first.record({0: row(0)})
        for use in (lambda: rows_of(path), lambda: rows_of(path, fresh=True), lambda: locked(path).__enter__()):
            with pytest.raises(OutputError, match=rf"being written by another run \(process {os.getpid()} on .*wait"):
                use()
        first.record({1: row(1)})
    assert sorted(rows_of(path)) == [0, 1]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with locked(tmp_path / "b"), pytest.raises(OutputError, match="b is being written by another run: wait"):
        rows_of(tmp_path / "b")


def test_a_missing_folder_is_refused_and_not_made(tmp_path):
    with pytest.raises(OutputError, match="such is not a folder: create it first"):
        rows_of(tmp_path / "no" / "such" / "a")
    assert list(tmp_path.iterdir()) == []


def test_progress_of_running_and_stopped_work(path, monkeypatch):
    with opened(path, total=7) as store:
        assert read_progress(path, "sweep").last is None
        store.record({0: row(0), 4: row(4, 5, "lost")})
        found = read_progress(path, "sweep")
        assert (found.points, found.finished, found.failed, found.running) == (7, 2, 1, True)
        assert found.writer.startswith(f"process {os.getpid()} on ")
        assert found.seconds == 0.5
        assert found.started <= found.last
        store.record({1: row(1)})  # it was only looked at
    before = path.read_bytes()
    found = read_progress(path, "sweep")
    assert (found.finished, found.running) == (3, False)
    # Whoever runs the tests may be root, whom permissions do not stop: the answer of the system is put in.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert read_progress(path, "sweep") == found
    assert path.read_bytes() == before


def test_no_store_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match=r"b\.nc\.checkpoint does not exist: no sweep was begun there"):
        read_progress(checkpoint_path(tmp_path / "b.nc"), "sweep")


# --- the system refuses ----------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_one_clear_error(path, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.filelock.FileLock, "acquire", refused)
    with pytest.raises(OutputError, match=r"cannot be written: .*Permission denied; choose another folder"):
        rows_of(path)


FILLS_THE_DISK = """
    import json, resource, signal, sys
    import numpy as np
    from iclglass.numerics.errors import OutputError
    from iclglass.numerics.running.store import Row, open_store

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    number = 0
    try:
        with open_store(sys.argv[1], "sweep", {}, json.loads(sys.argv[2]), width=3) as store:
            for number in range(10**6):
                store.record({number: Row(np.full(3, float(number)))})
    except OutputError as error:
        print(number, error)
"""


@pytest.mark.parametrize("finished", [0, 1])
def test_a_full_disk_says_that_something_is_kept_only_where_it_is(path, monkeypatch, finished):
    with opened(path) as store:
        store.record({key: row(key) for key in range(finished)})
        store._connection.execute("PRAGMA max_page_count = 1")  # as many as there are: no room for more
        with pytest.raises(OutputError, match=r"cannot be written: .*full") as refused:
            store.record({7: Row(np.zeros(10_000))})
    assert ("what was finished before is kept" in str(refused.value)) == path.exists() == bool(finished)


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_finished(path):
    """A limit on the size of files stands for the full disk: the system refuses to write on."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FILLS_THE_DISK), str(path), json.dumps(PROGRAM)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    number, _, message = done.stdout.partition(" ")
    assert "cannot be written:" in message
    assert "what was finished before is kept" in message
    assert int(number) > 5
    with open_store(path, "sweep", {}, PROGRAM, width=3) as store:
        assert store.done == {key: Row(np.full(3, float(key))) for key in range(int(number))}
        store.record({int(number): row(1)})
