"""An unfinished solve by conjugate gradients on disk, from which the same solve goes on, bit for bit.

One .npz file with the arrays of a `KrylovState`, replaced atomically every half minute and when the solve ends or is
interrupted: a killed solve loses half a minute.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import filelock
import numpy as np

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.instance.krylov import KrylovState
from iclglass.numerics.resuming import Program, differences, going_on
from iclglass.numerics.storage import replacing

__all__ = ["SolveCheckpoint"]

_FORMAT = "iclglass solve by conjugate gradients"
_SCHEMA_VERSION = 2
_SAVE_EVERY = 30.0
"""Seconds."""


class SolveCheckpoint:
    """The file of one solve, which parameters identify.

    here : the program.    resume_anyway : go on from what another version of it has left.
    programs : which have worked on the solve, after `load`.

    Raises OutputError: the file is damaged, none of ours, of another version of the program, or cannot be written;
    ParameterError: it is of another solve.
    """

    def __init__(
        self,
        path: str | Path,
        parameters: Mapping[str, object],
        here: Program,
        *,
        fresh: bool = False,
        resume_anyway: bool = False,
    ) -> None:
        self._path, self._parameters, self._fresh = Path(path), dict(parameters), fresh
        self.programs: Sequence[Program] = [here]
        self._anyway = resume_anyway
        self._last: KrylovState | None = None
        self._saved = time.monotonic()

    def load(self, shape: tuple[int, ...]) -> KrylovState | None:
        """The state that the file holds, for weights of a shape (K, D+1, D); None without one, or to begin anew."""
        if self._fresh or not self._path.exists():
            return None
        arrays = read_arrays(self._path)
        try:
            header = json.loads(str(arrays.pop("header")))
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']!r}")
            if header["schema_version"] != _SCHEMA_VERSION:
                raise OutputError(
                    f"{self._path} is an unfinished solve of schema version {header['schema_version']!r}, this program "
                    f"reads {_SCHEMA_VERSION}: finish it with the program that began it, or --force (fresh=True) to "
                    "begin anew"
                )
            of_others = differences(header["parameters"], self._parameters)
            state = KrylovState(**arrays)
            if not of_others:
                _check(state, shape)
                anew = "--force (fresh=True)"
                (here,) = self.programs
                self.programs = going_on(str(self._path), header["programs"], here, anyway=self._anyway, anew=anew)
        except OutputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise OutputError(
                f"{self._path} is damaged or not an unfinished solve of this program ({error}): remove it to begin anew"
            ) from error
        if of_others:
            raise ParameterError(
                f"{self._path} is an unfinished solve of other parameters: {of_others}; choose another output, or "
                "remove it to begin anew"
            )
        return state

    def keep(self, state: KrylovState) -> None:
        """Take note of a state, and save it if the last time is long ago."""
        self._last = state
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the last state, if there is one."""
        if self._last is None:
            return
        header = {
            "format": _FORMAT,
            "schema_version": _SCHEMA_VERSION,
            "programs": self.programs,
            "parameters": self._parameters,
        }
        with replacing(self._path, force=True) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **asdict(self._last))
        self._saved = time.monotonic()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """However the block is left, its last state is in the file; a second solve on it is refused."""
        lock = filelock.FileLock(self._path.with_name(f"{self._path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(f"{self._path} is being written by another solve: wait for it") from None
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{self._path} cannot be written: {error}; choose another folder") from error
        try:
            try:
                yield
            finally:
                self.save()
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _check(state: KrylovState, shape: tuple[int, ...]) -> None:
    """Refuse arrays that no solve has written."""
    part = (len(state.active), *shape[1:])
    wanted = {"weights": shape, "residual": shape, "correction": shape, "direction": part, "remainder": part}
    wanted |= {"product": part[:1], "target": shape[:1], "history": state.history.shape[:1]}
    for name, size in wanted.items():
        array = getattr(state, name)
        if array.dtype != np.float64 or array.shape != size or not np.isfinite(array).all():
            raise ValueError(f"{name} is not an array of finite doubles of shape {size}")
    if state.active.dtype != np.int64 or not set(state.active.tolist()) <= set(range(shape[0])):
        raise ValueError("active names systems that there are not")
