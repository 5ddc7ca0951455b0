"""Engines: which is chosen, what is refused, and what is left of them when they close."""

import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress

import psutil
import pytest

import iclglass.numerics.running.engines as module
from iclglass.cli import EXIT_FILE
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError, WorkerError
from iclglass.numerics.running import run as driver
from iclglass.numerics.running import scheduler
from iclglass.numerics.running.engines import SerialExecutor, killed_worker, make_engine
from iclglass.numerics.running.store import Store
from tests.numerics.running.killing import PATIENCE, PROGRAM, ROOT, at_most, wait_for
from tests.numerics.running.workloads import at, compute, napping, numbered, numbers, sleeping


def results(count):
    """What is expected of so many tasks."""
    return {key: numbered(number) for key, number in numbers(count).items()}


# --- which engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "workers", "name"),
    [
        (None, None, "serial"),
        (None, 1, "serial"),
        ("serial", None, "serial"),
        ("serial", 1, "serial"),
        (None, 2, "processes"),
        ("processes", None, "processes"),
        ("processes", 1, "processes"),
    ],
)
def test_the_engine_is_the_one_asked_for(executor, workers, name):
    with make_engine(executor, workers=workers) as engine:
        assert engine.name == name


@pytest.mark.parametrize(
    ("executor", "workers", "message"),
    [
        ("slurm", None, r"executor 'slurm' is unknown; known: serial, processes, dask, dask:ADDRESS, mpi"),
        ("", None, "is unknown"),
        (None, 0, "workers"),
        (None, -2, "workers"),
        (None, 1.5, "workers"),
        ("serial", 2, "workers = 2 does not go with serial"),
        ("mpi", 2, "workers = 2 does not go with mpi"),
        (SerialExecutor(), 0, "workers"),
    ],
)
def test_bad_engines_are_refused(executor, workers, message):
    with pytest.raises(ParameterError, match=message), make_engine(executor, workers=workers):
        pass


def test_an_executor_is_fed_as_its_caller_says():
    with make_engine(SerialExecutor(), workers=1000) as engine:
        assert engine.window == 2002


def test_wrong_types_are_refused():
    with pytest.raises(ParameterTypeError, match=r"must be a concurrent\.futures\.Executor or a name, got int"):
        make_engine(3, workers=None).__enter__()
    with pytest.raises(ParameterTypeError, match="workers"):
        make_engine(None, workers="2").__enter__()


@pytest.mark.parametrize(
    ("name", "package"), [("dask", "distributed"), ("dask:host:1", "distributed"), ("mpi", "mpi4py")]
)
def test_a_missing_extra_is_named_with_its_command(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"distributed": "distributed", "mpi4py": "mpi"}[package]
    with pytest.raises(ParameterError, match=rf"pip install 'iclglass\[{extra}\]'"), make_engine(name, workers=None):
        pass


def test_the_serial_executor_gives_results_and_errors():
    executor = SerialExecutor()
    assert executor.submit(divmod, 7, 2).result() == (3, 1)
    assert isinstance(executor.submit(divmod, 1, 0).exception(), ZeroDivisionError)


# --- executors of others ---------------------------------------------------------------------------------------


def test_an_executor_of_the_users_is_used_and_stays_theirs():
    with ThreadPoolExecutor(2) as executor:
        for _ in range(2):
            with make_engine(executor, workers=None) as engine:
                assert engine.name == "ThreadPoolExecutor"
                assert engine.window == 6
                assert len(compute(numbers(5), numbered, engine)) == 5
        with pytest.raises(ZeroDivisionError), make_engine(executor, workers=None):
            raise ZeroDivisionError
        assert executor.submit(abs, -1).result() == 1


def test_any_executor_will_do():
    class Odd(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            threading.Timer(0.01, lambda: future.set_result(fn(*args, **kwargs))).start()
            return future

    with make_engine(Odd(), workers=None) as engine:
        assert compute(numbers(3), numbered, engine) == results(3)


def test_an_executor_that_is_already_broken_is_one_clear_error():
    class Broken(Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise BrokenProcessPool("a child process terminated abruptly")

    with (
        pytest.raises(WorkerError, match="a worker of Broken died, and with it the executor"),
        make_engine(Broken(), workers=None) as engine,
    ):
        compute(numbers(3), numbered, engine)


def test_what_dask_says_of_a_dead_worker_is_understood_from_any_executor():
    killed = type("KilledWorker", (Exception,), {})
    assert killed_worker(killed("gone"))
    assert not killed_worker(ValueError("gone"))


# --- processes of our own --------------------------------------------------------------------------------------


@contextmanager
def no_new_process():
    """The block leaves no process behind."""

    def children():
        found = psutil.Process().children(recursive=True)
        return {child.pid for child in found if any("spawn_main" in part for part in child.cmdline())}

    before = children()
    yield
    wait_for(lambda: children() <= before, 20)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_after_an_error_workers_go_at_once_whatever_they_do(executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    failed = []

    def fails():
        with make_engine(executor, workers=2) as engine, at_most(PATIENCE):
            for number in range(4):
                engine.submit(sleeping, number)
            time.sleep(3)  # they sleep now
            failed.append(time.monotonic())
            raise ZeroDivisionError

    with no_new_process():
        with pytest.raises(ZeroDivisionError):
            fails()
        assert time.monotonic() - failed[0] < 20


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_do_not_hear_control_c(executor):
    """A terminal sends it to them too."""
    if executor == "dask":
        pytest.importorskip("distributed")
    store, sent = Store(), []

    def progress(finished, total):
        if finished > 10 and not sent:
            for child in psutil.Process().children(recursive=True):
                child.send_signal(signal.SIGINT)
                sent.append(child)

    said = []
    with make_engine(executor, workers=2) as engine, at_most(PATIENCE):
        compute(numbers(40), napping, engine, store=store, progress=progress, say=said.append)
        assert sum(child.is_running() for child in sent) >= 2
    assert said == []
    assert store.done == results(40)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_that_cannot_start_are_one_clear_error(executor, tmp_path):
    """A script without ``if __name__ == "__main__":`` is the usual cause: each worker would run it again."""
    if executor == "dask":
        pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from iclglass.numerics.errors import OutputError
            from iclglass.validation.sweeping.sweep import sweep_simulated
            try:
                sweep_simulated(
                    task_diversity=[1.0, 2.0], context_length=1.0, dimension=4, executor="{executor}", workers=2
                )
            except OutputError as error:
                print("refused:", error)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=PATIENCE,
        check=False,
    )
    assert "refused: worker processes die at their start: in a script, call it under if __name__" in done.stdout


# --- what engines tell the driver ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers_go_late", [False, True])
def test_control_c_ends_as_soon_as_nothing_runs(workers_go_late, monkeypatch):
    """Points that no worker holds are not waited for, whether the workers were never there or go while we wait."""
    monkeypatch.setattr(driver, "_LOOK_SECONDS", 0.02)
    said, asked = [], []

    def submit(function, payload):
        signal.raise_signal(signal.SIGINT)
        return Future()

    def cancel(future):
        asked.append(future)
        return not workers_go_late or len(asked) > 3

    with make_engine(None, workers=None) as engine, at_most(20):
        monkeypatch.setattr(engine, "submit", submit)
        monkeypatch.setattr(engine, "cancel", cancel)
        with pytest.raises(KeyboardInterrupt):
            compute(numbers(9), numbered, engine, say=said.append)
    assert said == (["finishing 1 tasks that run; Ctrl-C again stops at once"] if workers_go_late else [])


# --- Dask ------------------------------------------------------------------------------------------------------


@contextmanager
def answering(answer):
    """The address of a program that is no scheduler: it takes every connection, says its answer and waits."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        connections = []

        def serve():
            with suppress(OSError):
                while True:
                    connections.append(server.accept()[0])
                    connections[-1].sendall(answer)

        pool.submit(serve)
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


def frames(*parts):
    """A message as Dask frames it."""
    body = struct.pack(f"{1 + len(parts)}Q", len(parts), *map(len, parts)) + b"".join(parts)
    return struct.pack("Q", len(body)) + body


SILENT, NONSENSE = b"", frames(b"\xc1\xc1")
STRANGERS = {
    "a silent program": (SILENT, "takes the connection and does not answer"),
    "a proxy": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "what answers there is no scheduler"),
    "a length beyond memory": (struct.pack("Q", 2**62), "what answers there is no scheduler"),
    "zeros": (bytes(64), "what answers there is no scheduler"),
    "frames of nonsense": (NONSENSE, "what answers there is no scheduler"),
    "a message that is no greeting": (frames(b"\x93\x01\x02\x03"), "what answers there is no scheduler"),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_no_scheduler_is_refused_in_time(stranger, monkeypatch):
    pytest.importorskip("distributed")
    answer, reason = STRANGERS[stranger]
    if answer == SILENT:
        monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 0.2)
    with (
        answering(answer) as address,
        at_most(10),
        pytest.raises(OutputError, match=rf"no Dask scheduler answers at {address} within .*{reason}"),
    ):
        make_engine(f"dask:{address}", workers=None).__enter__()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("banana", "missing port number"),
        ("127.0.0.1", "missing port number"),
        ("nonsense://", "unknown address scheme"),
        ("tls://127.0.0.1:1", "certificates"),
    ],
)
def test_an_address_of_another_form_is_refused_at_once_with_the_form(address, reason):
    pytest.importorskip("distributed")
    with (
        at_most(5),
        pytest.raises(OutputError, match=rf"answers at {address}.*{reason}.* the form tcp://HOST:PORT$"),
    ):
        make_engine(f"dask:{address}", workers=None).__enter__()


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(scheduler, "_GRACE_SECONDS", 0.1)
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address: asked.wait(10))
    with at_most(5), pytest.raises(OutputError, match=r"no Dask scheduler answers at tcp://host:1 .*no answer"):
        make_engine("dask:tcp://host:1", workers=None).__enter__()
    asked.set()


@pytest.mark.slow
@pytest.mark.parametrize("stranger", [None, SILENT, NONSENSE], ids=["no address", "silent", "nonsense"])
@pytest.mark.parametrize("command", ["sweep", "blocks"])
def test_the_command_says_one_line_and_ends(command, stranger, tmp_path):
    """Nothing of Dask's is left that keeps the process alive, or complains of its end."""
    pytest.importorskip("distributed")
    arguments = {
        "sweep": "sweep --simulate --tau 0.5:3:3 --alpha 1 --dimension 4 --samples 2 --out y.nc",
        "blocks": "instance --blocks --dimension 4 --context 8 --prompts 50 --ridge0 0.1 --beta 1 --seed 1",
    }
    with nullcontext("banana") if stranger is None else answering(stranger) as address:
        started = time.monotonic()
        done = subprocess.run(
            [*PROGRAM, *arguments[command].split(), "--dask", address],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
    assert done.returncode == EXIT_FILE
    assert done.stderr.startswith(f"iclglass: error: no Dask scheduler answers at {address} ")
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started < 30


@pytest.fixture
def cluster():
    """A cluster of somebody else's; it tries a point on two workers before it says that it kills them."""
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        # a cluster on one machine gives up a worker that is just being restarted 15 s after a death
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            scheduler_kwargs={"allowed_failures": 1},
        ) as running,
    ):
        yield running


@pytest.mark.slow
def test_a_cluster_by_its_address_stays_and_poison_on_it_is_found(cluster):
    with make_engine(f"dask:{cluster.scheduler_address}", workers=None) as engine:
        done = compute(numbers(12), at([5], "exits"), engine)
    assert [number for number, found in done.items() if found.status] == [4]
    with make_engine(f"dask:{cluster.scheduler_address}", workers=None) as engine:
        assert compute(numbers(12), numbered, engine) == results(12)


@pytest.mark.slow
def test_workers_of_a_given_cluster_are_not_ours_to_choose(cluster):
    with pytest.raises(ParameterError, match="that of an address has its own"):
        make_engine(f"dask:{cluster.scheduler_address}", workers=2).__enter__()


@pytest.mark.slow
def test_a_scheduler_that_goes_is_one_error_and_what_was_finished_is_kept(cluster):
    store, closed = Store(), []

    def progress(finished, total):
        if finished >= 10 and not closed:
            closed.append(cluster.close())

    with (
        pytest.raises(WorkerError, match="scheduler is gone"),
        make_engine(f"dask:{cluster.scheduler_address}", workers=None) as engine,
        at_most(PATIENCE),
    ):
        compute(numbers(60), napping, engine, store=store, progress=progress)
    assert len(store.done) >= 10


@pytest.mark.slow
def test_a_result_that_is_lost_before_it_is_fetched_is_told(cluster, monkeypatch):
    import distributed
    from distributed.scheduler import KilledWorker

    fetch, lost = distributed.Client._gather, []

    async def losing(client, futures, *arguments, **options):
        if not lost:
            lost.extend(futures)
            raise KilledWorker(futures[0].key, None, 0)
        return await fetch(client, futures, *arguments, **options)

    monkeypatch.setattr(distributed.Client, "_gather", losing)
    with make_engine(f"dask:{cluster.scheduler_address}", workers=None) as engine, at_most(30):
        assert compute(numbers(6), numbered, engine) == results(6)
    assert len(lost) == 1


@pytest.fixture
def empty():
    """A scheduler without workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as running:
        yield running


def run_on(cluster, say):
    with make_engine(f"dask:{cluster.scheduler_address}", workers=None) as engine, at_most(PATIENCE):
        return compute(numbers(3), napping, engine, say=say)


@pytest.mark.slow
def test_a_cluster_without_workers_is_said_and_then_one_error(empty, monkeypatch):
    monkeypatch.setattr(module, "_QUIET_SECONDS", 1)
    monkeypatch.setattr(module, "_NO_WORKERS_SECONDS", 2.0)
    said, address = [], empty.scheduler_address
    with pytest.raises(WorkerError, match=r"has had no worker for 2 s: start one with 'dask worker'"):
        run_on(empty, said.append)
    wanted = (
        f"the scheduler at {address} has no workers yet: start them with 'dask worker {address}'; waiting up to 2 s"
    )
    assert said == [wanted]


@pytest.mark.slow
def test_workers_that_come_late_are_used(empty, monkeypatch):
    monkeypatch.setattr(module, "_QUIET_SECONDS", 1)
    said = []

    def say(sentence):
        said.append(sentence)
        empty.scale(1)

    assert run_on(empty, say) == results(3)
    assert len(said) == 1


@pytest.mark.slow
def test_the_address_of_a_worker_is_refused(cluster):
    (address, *_) = cluster.scheduler_info["workers"]
    with at_most(PATIENCE), pytest.raises(OutputError, match="what answers there is no scheduler"):
        make_engine(f"dask:{address}", workers=None).__enter__()
