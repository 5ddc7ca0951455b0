"""The checkpoint: what it keeps, what it refuses, damaged and foreign files, two drivers, full disks."""

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

import iclglass.validation.sweeping.checkpoint as module
from iclglass.numerics import resuming
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.validation.sweeping.checkpoint import checkpoint_path, open_checkpoint, read_progress
from iclglass.validation.sweeping.evaluation import PointResult
from tests.validation.sweeping.killing import ROOT

PARAMETERS = {"road": "simulation", "task_diversity": [0.5, 1.0], "seed": 0}
COLUMNS = ("a", "b", "c")
FLIPS = 60
"""Bits flipped, each in a copy of its own; about 1 in 20 of the file's bytes are those of values."""


def opened(path, parameters=None, *, points=100, columns=COLUMNS, fresh=False):
    return open_checkpoint(path, parameters or PARAMETERS, points=points, columns=columns, fresh=fresh)


def result(number, status=0, message=""):
    return PointResult((float(number), number / 3, -float(number)), status, message, 0.25)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nc.checkpoint"


@pytest.fixture
def begun(path):
    """A checkpoint of 40 points of 100."""
    with opened(path) as checkpoint:
        checkpoint.record([(number, result(number)) for number in range(40)])
    return path


# --- what is kept ----------------------------------------------------------------------------------------------


def test_points_come_back_bit_for_bit(path):
    payload_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    odd = (math.nan, payload_nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 1.7976931348623157e308)
    names = tuple("abcdefgh")
    first, second = PointResult(odd, 0, "", 0.1), PointResult(odd[::-1], 2, 'not "converged"; λ \n', 1e-9)
    with opened(path, columns=names) as checkpoint:
        checkpoint.record([(7, first), (10**6, second)])
    with opened(path, columns=names) as checkpoint:
        assert sorted(checkpoint.done) == [7, 10**6]
        for number, one in ((7, first), (10**6, second)):
            found = checkpoint.done[number]
            assert np.array(found.values).tobytes() == np.array(one.values).tobytes()
            assert (found.status, found.message, found.seconds) == (one.status, one.message, one.seconds)


def test_what_was_reported_as_recorded_is_there_for_another_process(path):
    """Not at the end of the block: after each `record`."""
    with opened(path) as checkpoint:
        for number in range(5):
            checkpoint.record([(number, result(number))])
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as other:
                assert other.execute("SELECT count(*) FROM point").fetchone() == (number + 1,)


def test_commits_are_synced_to_disk(path):
    with opened(path) as checkpoint:
        assert checkpoint._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert checkpoint._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        checkpoint.record([(0, result(0))])


def test_a_point_that_is_tried_again_replaces_its_failure(path):
    with opened(path) as checkpoint:
        checkpoint.record([(3, result(3, 5, "lost"))])
        checkpoint.record([(3, result(3))])
    with opened(path) as checkpoint:
        assert checkpoint.done == {3: result(3)}


def test_nothing_is_left_where_no_point_finished_or_after_success(tmp_path, path):
    with opened(path):
        assert path.exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), opened(path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with opened(path) as checkpoint:
        checkpoint.record([(0, result(0))])
        checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_what_was_finished(path):
    def fails():
        with opened(path) as checkpoint:
            checkpoint.record([(0, result(0))])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with opened(path) as checkpoint:
        assert checkpoint.done == {0: result(0)}


def test_fresh_begins_anew(begun):
    with opened(begun, {"other": 1}, fresh=True) as checkpoint:
        assert checkpoint.done == {}
        checkpoint.record([(1, result(1))])
    with opened(begun, {"other": 1}) as checkpoint:
        assert checkpoint.done == {1: result(1)}


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened(None) as checkpoint:
        checkpoint.record([(0, result(0))])
        assert checkpoint.done == {0: result(0)}
        checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_died_while_it_made_the_file_left_nothing_in_the_way(path):
    path.write_bytes(b"")
    with opened(path) as checkpoint:
        checkpoint.record([(0, result(0))])
    with opened(path) as checkpoint:
        assert checkpoint.done == {0: result(0)}


# --- what is refused -------------------------------------------------------------------------------------------


def test_other_parameters_are_refused_by_name(begun):
    with (
        pytest.raises(ParameterError, match=r"other parameters: seed is 0 there and 1 here; task_diversity is .*force"),
        opened(begun, PARAMETERS | {"seed": 1, "task_diversity": [0.5, 2.0]}),
    ):
        pass
    with pytest.raises(ParameterError, match="new is None there and 3 here"), opened(begun, PARAMETERS | {"new": 3}):
        pass
    with opened(begun) as checkpoint:
        assert len(checkpoint.done) == 40


def change(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def test_another_schema_version_is_refused(begun):
    change(begun, "UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    for use in (lambda: opened(begun).__enter__(), lambda: read_progress(begun)):
        with pytest.raises(OutputError, match=r"of schema version 99, this program writes 2: finish it with"):
            use()


def test_other_versions_of_packages_are_refused(begun, monkeypatch):
    monkeypatch.setattr(resuming, "version", lambda package: "9.9")
    with pytest.raises(OutputError, match=r"another version .*'9\.9' here.*must not be mixed"), opened(begun):
        pass
    assert read_progress(begun).finished == 40  # but one may look


DIES_WRITING = """
    import os, sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    for statement in {before!r}:
        connection.execute(statement)
    connection.execute("PRAGMA cache_size = 1")  # so that the unfinished transaction is in the file
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE big (text)")
    connection.executemany("INSERT INTO big VALUES (?)", [("x" * 5000,)] * 50)
    os._exit(9)
"""


def test_a_driver_that_died_while_it_made_the_file(tmp_path):
    """Its rollback journal is beside the file: to look changes nothing, to resume undoes what it had begun."""
    path = tmp_path / "a.nc.checkpoint"
    script = textwrap.dedent(DIES_WRITING.format(before=["SELECT 1"]))
    subprocess.run([sys.executable, "-c", script, path], check=False)
    journal = tmp_path / "a.nc.checkpoint-journal"
    before = path.read_bytes(), journal.read_bytes()
    assert len(before[0]) > 100_000
    with pytest.raises(OutputError, match=r"is empty: its driver has not begun, or died before it did"):
        read_progress(path)
    assert (path.read_bytes(), journal.read_bytes()) == before
    with opened(path) as checkpoint:
        assert checkpoint.done == {}
        assert read_progress(path).points == 100


def test_a_driver_that_died_before_its_first_point(begun):
    """Between the tables and the WAL: the journal is undone in a copy, the file says 0 of 100."""
    change(begun, "DELETE FROM point")
    script = textwrap.dedent(DIES_WRITING.format(before=["PRAGMA journal_mode = DELETE"]))
    subprocess.run([sys.executable, "-c", script, begun], check=False)
    before = begun.read_bytes()
    found = read_progress(begun)
    assert (found.points, found.finished, found.running) == (100, 0, False)
    assert begun.read_bytes() == before


def test_foreign_files_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "text.checkpoint"
    text.write_text("my thesis\n" * 500)
    short = tmp_path / "short.checkpoint"
    short.write_text("x")
    note = tmp_path / "note.checkpoint"
    note.write_text("x" * 300)
    database = tmp_path / "database.checkpoint"
    change(database, "CREATE TABLE accounts (number INTEGER)")
    alike = tmp_path / "alike.checkpoint"
    for table in ("CREATE TABLE meta (a INTEGER)", "CREATE TABLE point (a INTEGER)"):
        change(alike, table)
    for file in (text, short, note, database, alike):
        before = file.read_bytes()
        with pytest.raises(OutputError, match=r"not a checkpoint of a sweep|cannot be used"), opened(file):
            pass
        with pytest.raises(OutputError, match=r"not a checkpoint of a sweep|cannot be used"):
            read_progress(file)
        assert file.read_bytes() == before


def test_a_folder_in_its_place_is_one_clear_error(path):
    path.mkdir()
    with pytest.raises(OutputError), opened(path):
        pass
    with pytest.raises(OutputError, match="does not exist"):
        read_progress(path)


def unless_refused(path, use):
    """What the function gives, or None where it refuses the file by its name; any other error is not caught."""
    try:
        return use()
    except (OutputError, ParameterError) as error:
        message = str(error)
    assert str(path) in message
    return None


def outcome(path):
    """Points found, or None where the file is refused."""

    def use():
        with opened(path) as checkpoint:
            return dict(checkpoint.done)

    return unless_refused(path, use)


def assert_never_wrong(found):
    """What is not refused holds nothing that was not written."""
    for number, one in (found or {}).items():
        assert one == result(number)


def test_flipped_bits_are_refused_or_harmless(begun):
    original, chance = begun.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(FLIPS):
        damaged = bytearray(original)
        # some in the header, the others anywhere
        place = chance.randrange(100) if chance.random() < 0.2 else chance.randrange(len(original))
        damaged[place] ^= 1 << chance.randrange(8)
        begun.write_bytes(damaged)
        unless_refused(begun, lambda: read_progress(begun))
        found = outcome(begun)
        refused += found is None
        assert_never_wrong(found)
    assert refused > FLIPS / 20


def test_a_flipped_bit_in_a_value_is_noticed(begun):
    original = begun.read_bytes()
    value = np.array(result(30).values, dtype="<f8").tobytes()
    assert original.count(value) == 1
    damaged = bytearray(original)
    damaged[original.index(value) + 3] ^= 16
    begun.write_bytes(damaged)
    with pytest.raises(OutputError, match=r"is damaged.*point 30 is not what was written"), opened(begun):
        pass


@pytest.mark.parametrize("part", [0.001, 0.1, 0.3, 0.5, 0.75, 0.9, 0.999])
def test_truncated_files_are_refused(begun, part):
    content = begun.read_bytes()
    begun.write_bytes(content[: int(part * len(content))])
    found = outcome(begun)
    assert_never_wrong(found)
    # The last bytes of the last page may be those that nothing uses: then nothing is lost.
    assert found is None or (part == 0.999 and len(found) == 40)


def test_a_damaged_file_is_begun_anew_with_force(begun):
    begun.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert outcome(begun) is None
    with opened(begun, fresh=True) as checkpoint:
        assert checkpoint.done == {}


# --- two drivers, status ---------------------------------------------------------------------------------------


def test_a_second_driver_is_refused_and_the_first_is_undisturbed(path):
    with opened(path) as first:
        first.record([(0, result(0))])
        for fresh in (False, True):
            with (
                pytest.raises(OutputError, match=rf"being written by another sweep \(process {os.getpid()} on .*wait"),
                opened(path, fresh=fresh),
            ):
                pass
        first.record([(1, result(1))])
    with opened(path) as checkpoint:
        assert sorted(checkpoint.done) == [0, 1]


def test_progress_of_a_running_and_of_a_stopped_sweep(path):
    with opened(path, points=7) as checkpoint:
        assert read_progress(path).last is None
        checkpoint.record([(0, result(0)), (4, result(4, 5, "lost"))])
        found = read_progress(path)
        assert (found.points, found.finished, found.failed, found.running) == (7, 2, 1, True)
        assert found.writer.startswith(f"process {os.getpid()} on ")
        assert found.seconds == 0.5
        assert found.started <= found.last
        checkpoint.record([(1, result(1))])  # it was only looked at
    found = read_progress(path)
    assert (found.finished, found.running) == (3, False)


def test_progress_changes_nothing(begun):
    before = begun.read_bytes()
    read_progress(begun)
    assert begun.read_bytes() == before
    assert len(outcome(begun)) == 40


def test_progress_where_the_folder_cannot_be_written(begun, monkeypatch):
    """Whoever runs the tests may be root, whom permissions do not stop: the answer of the system is put in."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert read_progress(begun).finished == 40


def test_no_checkpoint_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match=r"b\.nc\.checkpoint does not exist: no sweep was begun there"):
        read_progress(checkpoint_path(tmp_path / "b.nc"))


# --- the system refuses ----------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_one_clear_error(path, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.filelock.FileLock, "acquire", refused)
    with (
        pytest.raises(OutputError, match=r"cannot be written: .*Permission denied; choose another folder"),
        opened(path),
    ):
        pass


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_finished(path):
    """A limit on the size of files stands for the full disk: the system refuses to write on."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import resource, signal, sys
                from pathlib import Path
                from iclglass.numerics.errors import OutputError
                from iclglass.validation.sweeping.checkpoint import open_checkpoint
                from iclglass.validation.sweeping.evaluation import PointResult

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
                number = 0
                try:
                    with open_checkpoint(Path(sys.argv[1]), {"a": 1}, points=10**6, columns="abc") as checkpoint:
                        for number in range(10**6):
                            value = float(number)
                            checkpoint.record([(number, PointResult((value, value, value), 0, "", 0.0))])
                except OutputError as error:
                    print(number, error)
                """
            ),
            str(path),
        ],
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
    with opened(path, {"a": 1}, points=10**6) as checkpoint:
        assert sorted(checkpoint.done) == list(range(int(number)))
        assert all(found.values == (float(k),) * 3 for k, found in checkpoint.done.items())
        checkpoint.record([(int(number), result(1))])
