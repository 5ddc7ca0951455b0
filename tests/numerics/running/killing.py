"""Sweeps in processes of their own that are killed, and what they leave: rows of the checkpoint, processes."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 240.0
"""Seconds after which a sweep hangs, for a machine that does other things too."""
PROGRAM = (sys.executable, "-m", "iclglass")
_TAG = "ICLGLASS_TEST_SWEEP"


class Command:
    """``iclglass ...`` in a session of its own, as a terminal would start it."""

    def __init__(self, arguments, folder, *, launcher=PROGRAM, before=None):
        self.tag = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [*launcher, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), _TAG: self.tag},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.SIG_DFL), before and before()),
        )

    def kill(self):
        """SIGKILL to the driver alone, as the kernel would when memory is short."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE)  # not until its pipes close: an orphan would hold them

    def interrupt(self):
        """Ctrl-C: the terminal sends SIGINT to every process of the job."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, patience=PATIENCE):
        """(exit code, stdout, stderr)."""
        out, err = self.process.communicate(timeout=patience)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err

    def relatives(self):
        """The driver and all that it has started, dead parents or not; zombies left out."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_TAG) == self.tag and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def workers(self):
        """Worker processes at work."""
        return [process for process in self.relatives() if any("spawn_main" in part for part in process.cmdline())]


def sweeping(*arguments, **options):
    """``iclglass sweep ...``, as `running`."""
    return running("sweep", *arguments, **options)


@contextmanager
def running(*arguments, folder, launcher=PROGRAM, before=None):
    """A running `Command`; nothing of it outlives the block."""
    sweep = Command([str(argument) for argument in arguments], folder, launcher=launcher, before=before)
    try:
        yield sweep
    finally:
        for process in sweep.relatives():
            with suppress(psutil.Error):
                process.kill()
        sweep.process.communicate(timeout=PATIENCE)


def rows(output):
    """What the checkpoint of an output holds: number -> (time, values as bytes); none where there is no file."""
    path = Path(f"{output}.checkpoint")
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                return {}
            found = connection.execute("SELECT key, finished, value FROM row")
            return {number: (finished, value) for number, finished, value in found}
        except sqlite3.OperationalError:
            # A rollback journal: a driver that died, or works, at making the file. Points come after that, with a WAL.
            if Path(f"{path}-journal").exists():
                return {}
            raise


def mpi_launcher():
    """What starts an MPI job of a driver and two workers."""
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec") or shutil.which("mpiexec", path=Path(sys.executable).parent)
    if mpiexec is None:
        pytest.skip("no mpiexec")
    return (mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m", "iclglass")


def wait_for(condition, patience=PATIENCE):
    """The first true value of the condition."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {patience:g} s: {condition}")


@contextmanager
def at_most(seconds):
    """TimeoutError in the main thread after so long: a hang is a failed test, not a hung run of tests."""

    def late(number, frame):
        raise TimeoutError(f"not finished after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(int(seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
