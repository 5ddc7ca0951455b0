"""Where tasks are computed: an engine hands them to an executor and knows what its workers can do.

    serial     in this process, one after the other
    processes  spawned worker processes; restarted when one of them dies
    dask       a Dask cluster, local or by the address of its scheduler (extra iclglass[distributed])
    mpi        the processes of an MPI job (extra iclglass[mpi])
    any other  a `concurrent.futures.Executor` of the caller's, which stays theirs

Workers of our own ignore Ctrl-C, which the terminal sends to them too: the driver decides. They end by themselves when
their driver dies, however it dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

from iclglass.numerics.arguments import check_count
from iclglass.numerics.errors import MissingExtraError, OutputError, ParameterError, ParameterTypeError, WorkerError
from iclglass.numerics.running.blas import cores
from iclglass.numerics.running.scheduler import CONNECT_SECONDS, check_scheduler, no_scheduler

__all__ = ["Engine", "SerialExecutor", "killed_worker", "make_engine"]

_NO_WORKERS_SECONDS = 60.0
"""A worker that died is back in seconds, a few in a row in less than that."""
_QUIET_SECONDS = 4
"""Without a worker, before that is said."""
_MOST_WORKERS = 1024
"""Processes on one machine."""
_NO_START = (
    'worker processes die at their start: in a script, call it under if __name__ == "__main__":, as '
    "multiprocessing wants it; else look at the lines above"
)


class Engine:
    """An executor, and what its workers can do; as it stands one that is not ours to restart.

    Parameters
    ----------
    executor : Executor or None
        Where tasks go.
    name : str
        What messages call it.
    window : int
        Tasks in flight at the most: enough to keep the workers busy.
    workers : int
        Tasks that run at once in the memory of this machine; 1 where that is not known, as on a cluster.
    """

    def __init__(self, executor: Executor | None, name: str, window: int, workers: int = 1) -> None:
        self.executor, self.name, self._window, self.workers = executor, name, window, workers

    @property
    def window(self) -> int:
        """Tasks in flight at the most."""
        return self._window

    def submit(self, function: Callable[[Any], Any], payload: Any) -> Future[Any]:
        """Start one task."""
        assert self.executor is not None
        try:
            return self.executor.submit(function, payload)
        except BrokenExecutor as error:
            # A death between two submissions: reported as the others are, through the future.
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def cancel(self, future: Future[Any]) -> bool:
        """Take back a task that no worker has begun; False where it runs, or where that is not known."""
        return future.cancel()

    def restart(self) -> bool:
        """New workers after some died; False where that is not ours to do."""
        return False

    def check(self) -> str | None:
        """Called about once a second: a sentence that the user should know, once; WorkerError where nothing can
        finish."""
        return None

    def close(self, *, wait: bool) -> None:
        """Let the workers go; without ``wait`` at once, whatever they are doing."""


@contextmanager
def make_engine(executor: Executor | Engine | str | None, *, workers: int | None, tries: int = 1) -> Iterator[Engine]:
    """The engine that is asked for; when the block ends its workers go, after an error or an interrupt at once.

    executor : None (serial for workers 1 or None, else processes), "serial", "processes", "dask" (a cluster on this
        machine), "dask:ADDRESS", "mpi", any `concurrent.futures.Executor`, or an engine of a block around this one,
        which closes it.
    workers : processes of "processes" and "dask", default one for each core; of an executor of yours how many it has,
        which says how many tasks are kept in flight.
    tries : how often a Dask cluster of our own tries what killed its worker; 1 for who finds out which it was.

    Raises ParameterError for an unknown name or a missing extra, with the command that installs it; OutputError for a
    scheduler that does not answer.
    """
    if isinstance(executor, Engine):
        yield executor
        return
    engine = _choose(executor, workers, tries)
    finished = False
    try:
        yield engine
        finished = True
    finally:
        engine.close(wait=finished)


def _choose(executor: Executor | str | None, workers: int | None, tries: int) -> Engine:
    if workers is not None:
        workers = check_count("workers", workers, minimum=1, maximum=_MOST_WORKERS)
    if isinstance(executor, Executor):
        # Executors do not say how many workers they have; those of the standard library keep it here.
        kept = getattr(executor, "_max_workers", None)
        known = workers or (kept if isinstance(kept, int) and kept > 0 else None)
        return Engine(executor, type(executor).__name__, 2 * (known or 4 * cores()) + 2, known or 1)
    if executor is not None and not isinstance(executor, str):
        raise ParameterTypeError(
            f"executor must be a concurrent.futures.Executor or a name, got {type(executor).__name__}"
        )
    if executor is None:
        executor = "serial" if workers in (None, 1) else "processes"
    if executor in ("serial", "mpi") and workers not in (None, 1):
        raise ParameterError(f"workers = {workers} does not go with {executor}")
    if executor == "serial":
        return Engine(SerialExecutor(), "serial", 1)
    if executor == "processes":
        return _ProcessEngine(workers or cores())
    if executor == "mpi":
        return _mpi_engine()
    kind, _, address = executor.partition(":")
    if kind == "dask":
        return _DaskEngine(address or None, workers, tries)
    raise ParameterError(
        f"executor {executor!r} is unknown; known: serial, processes, dask, dask:ADDRESS, mpi, or an Executor"
    )


class SerialExecutor(Executor):
    """Runs what is submitted at once, in the calling thread.

    >>> SerialExecutor().submit(abs, -1).result()
    1
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished future of fn(*args, **kwargs)."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def killed_worker(error: Exception) -> bool:
    """Whether a task failed because workers died that held it: Dask's KilledWorker, whoever made the executor. Tasks
    that only waited beside the one that kills are told so too."""
    return any(kind.__name__ == "KilledWorker" for kind in type(error).__mro__)


@contextmanager
def _shielded() -> Iterator[None]:
    """Processes and threads begun inside never get Ctrl-C, not even while they start; we get it at the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started together with the first process, it would unblock the signal behind our back.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _ProcessEngine(Engine):
    """Spawned processes: no state of the driver's is inherited, as on a cluster."""

    executor: ProcessPoolExecutor

    def __init__(self, workers: int) -> None:
        self._workers = workers
        super().__init__(self._start(), "processes", 2 * workers + 2, workers)

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
        )

    def submit(self, function: Callable[[Any], Any], payload: Any) -> Future[Any]:
        with _shielded():
            return super().submit(function, payload)

    def restart(self) -> bool:
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.executor = self._start()
        try:
            # Workers that cannot even start would be started for ever.
            self.submit(_nothing, None).result()
        except BrokenProcessPool as error:
            raise OutputError(_NO_START) from error
        return True

    def close(self, *, wait: bool) -> None:
        if not wait:
            for process in list((self.executor._processes or {}).values()):
                process.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)


def _nothing(payload: None) -> None:
    pass


def _prepare_worker() -> None:
    """In a new worker: leave Ctrl-C to the driver, and end when the driver does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    # A killed driver closes nothing: its workers would wait for work for ever.
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


class _DaskEngine(Engine):
    """A Dask cluster."""

    def __init__(self, address: str | None, workers: int | None, tries: int) -> None:
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError("Dask is not installed: pip install 'iclglass[distributed]'") from error
        if address is not None and workers is not None:
            raise ParameterError("workers goes with a cluster of our own: that of an address has its own")
        if address is not None:
            check_scheduler(address)
        workers = workers or cores()
        super().__init__(None, "dask", 0, workers if address is None else 1)
        self._address = address
        self._threads = 0
        self._manned = False
        self._idle_checks = 0
        with ExitStack() as stack:  # what was begun ends, wherever the rest fails
            cluster = None if address is not None else self._start(distributed, workers, tries, stack)
            try:
                client = distributed.Client(cluster or address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise no_scheduler(address, type(error).__name__) from error
            self._client = client
            stack.callback(client.close, timeout=5)
            self._count()
            self._open = stack.pop_all()

    @staticmethod
    def _start(distributed: Any, workers: int, tries: int, stack: ExitStack) -> Any:
        import dask

        # Else a worker that is just being restarted 15 s after an earlier death is given up for good.
        stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}))
        try:
            with _shielded():
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # without a port of its own it warns where 8787 is taken
                    silence_logs=50,
                    # The driver finds out which task it was; Dask would go on blaming those beside it.
                    scheduler_kwargs={"allowed_failures": tries - 1},
                )
        except RuntimeError as error:
            raise OutputError(_NO_START) from error
        stack.callback(cluster.close, timeout=5)
        return cluster

    def _count(self) -> None:
        self._threads = sum(self._client.nthreads().values())
        self._manned = self._manned or self._threads > 0

    @property
    def window(self) -> int:
        return 2 * max(self._threads, 1) + 2

    def submit(self, function: Callable[[Any], Any], payload: Any) -> Future[Any]:
        self._idle_checks = 0  # something came back, if only the news that a worker died
        future = self._client.submit(function, payload, pure=False)  # equal calls are not merged
        return asyncio.run_coroutine_threadsafe(_outcome(future), self._client.loop.asyncio_loop)

    def cancel(self, future: Future[Any]) -> bool:
        # Dask would drop a task that runs; without a worker none does.
        return self._threads == 0 and future.cancel()

    def check(self) -> str | None:
        if self._client.status != "running":
            raise WorkerError("the Dask scheduler is gone")
        self._count()
        self._idle_checks = 0 if self._threads else self._idle_checks + 1
        if self._idle_checks > _NO_WORKERS_SECONDS:  # about one check a second
            raise WorkerError(
                f"the Dask scheduler has had no worker for {_NO_WORKERS_SECONDS:g} s: start one with 'dask worker'"
            )
        if self._address is None or self._idle_checks != _QUIET_SECONDS:
            return None  # a cluster of our own starts its workers again
        return (
            f"the scheduler at {self._address} has no workers {'left' if self._manned else 'yet'}: start them with "
            f"'dask worker {self._address}'; waiting up to {_NO_WORKERS_SECONDS:g} s"
        )

    def close(self, *, wait: bool) -> None:
        self._open.close()


async def _outcome(future: Any) -> Any:
    """What a task gave. `Client.get_executor` would never tell of a result that was lost with its worker before it was
    fetched: fetching it raises, and its future stays as it is."""
    try:
        return await future
    except asyncio.CancelledError:
        await future.cancel()
        raise


def _mpi_engine() -> Engine:
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"mpi4py is not installed or finds no MPI ({error}): pip install 'iclglass[mpi]', and an MPI library"
        ) from error
    if MPI.COMM_WORLD.Get_size() < 2:
        raise ParameterError(
            "MPI has one process, the driver, and no worker: start with mpiexec -n 4 python -m mpi4py.futures -m "
            "iclglass ... --mpi"
        )
    executor = MPIPoolExecutor()
    return Engine(executor, "mpi", 2 * executor.num_workers + 2)
