"""A data set cut into row blocks, and sums over some of them: the part of a distributed solve that runs on workers.

Everything that conjugate gradients need of a data set is a sum over its prompts (see `features`):

    normal          S^T S W                                    one in every step
    survey          P, S^T y, sums of u u^T, xt xt^T and (u*u)(xt*xt)^T: right-hand side and preconditioner
    squared_error   |y - S W|^2

so a worker that can make a block of prompts from its number makes it, adds its share to the sum, and forgets it. What
travels is (D+1) x D numbers to the worker and as many back, whatever the number of prompts.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_count
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.running.blas import pin_blas

__all__ = [
    "BLOCK_PROMPTS",
    "OPERATIONS",
    "BlockSource",
    "BlockTask",
    "InstanceBlocks",
    "added",
    "block_sums",
    "clear_cache",
    "this_process",
]

FloatArray = NDArray[np.float64]
Sums = tuple[FloatArray, ...]

BLOCK_PROMPTS = 1024
"""Prompts in a block by default: 2 MB at D = 100, 16 MB at D = 1000; drawing and products run at full speed."""


@runtime_checkable
class BlockSource(Protocol):
    """A data set of `prompts` P prompts in `dimension` D dimensions, in `blocks` row blocks: block(0), block(1), ...

    A source whose contexts lack the mean squared label also has an attribute last_row, False.

    It is sent to the workers with every task: small, picklable, and two sources of one data set compare equal (a frozen
    dataclass of numbers does). block(index) is a pure function; the blocks hold P prompts together.
    """

    @property
    def prompts(self) -> int:
        """Number of prompts P."""

    @property
    def dimension(self) -> int:
        """Token dimension D."""

    @property
    def blocks(self) -> int:
        """Number of row blocks."""

    def block(self, index: int) -> Instance:
        """The prompts of one block, 0 <= index < blocks."""


@dataclass(frozen=True, eq=False)
class InstanceBlocks:
    """A data set in memory as a source of blocks of block_prompts prompts each, the last one with what is left.

    For threads: other processes would be sent the whole data set with every task.

    >>> data = Instance(np.ones((5, 3)), np.ones((5, 2)), np.arange(5.0))
    >>> source = InstanceBlocks(data, block_prompts=2)
    >>> source.blocks, source.block(2).label.tolist()
    (3, [4.0])
    """

    instance: Instance
    block_prompts: int = BLOCK_PROMPTS

    def __post_init__(self) -> None:
        check_instance(self.instance)
        size = check_count("block_prompts", self.block_prompts, minimum=1)
        object.__setattr__(self, "block_prompts", size)

    @property
    def prompts(self) -> int:
        """Number of prompts P."""
        return self.instance.prompts

    @property
    def dimension(self) -> int:
        """Token dimension D."""
        return self.instance.dimension

    @property
    def last_row(self) -> bool:
        """Whether contexts hold the mean squared label."""
        return self.instance.last_row

    @property
    def blocks(self) -> int:
        """Number of row blocks."""
        return -(-self.prompts // self.block_prompts)

    def block(self, index: int) -> Instance:
        """The prompts of one block; views of the data set's arrays."""
        part = slice(index * self.block_prompts, (index + 1) * self.block_prompts)
        return Instance(self.instance.context[part], self.instance.query[part], self.instance.label[part])


@dataclass(frozen=True, eq=False)
class BlockTask:
    """One task of a worker: the sums of `operation` (a key of `OPERATIONS`) over blocks first .. last - 1.

    weights : (D+1, D) or (K, D+1, D), None for the survey.    cache_bytes : for blocks to keep, 0 for none.
    driver : `this_process()` of the driver. A worker elsewhere pins its BLAS to one thread, for good.
    """

    source: BlockSource
    first: int
    last: int
    operation: str
    weights: FloatArray | None
    cache_bytes: int
    driver: str


def block_sums(task: BlockTask) -> Sums:
    """Sums over the blocks of one task, added in their order: the same bits wherever it runs.

    >>> source = InstanceBlocks(Instance(np.ones((5, 2)), np.ones((5, 1)), np.arange(5.0)), block_prompts=2)
    >>> task = BlockTask(source, 0, 2, "squared_error", np.zeros((2, 1)), 0, this_process())
    >>> float(block_sums(task)[0])  # 0 + 1 + 4 + 9
    14.0
    """
    if task.driver != this_process():
        pin_blas()
    blocks = (_CACHE.block(task.source, index, task.cache_bytes) for index in range(task.first, task.last))
    return added(OPERATIONS[task.operation](block, task.weights) for block in blocks)


def added(parts: Iterator[Sums]) -> Sums:
    """Sums of sums, in their order, into the first ones.

    >>> added(iter([(np.ones(1), np.zeros(1)), (np.ones(1), np.ones(1))]))
    (array([2.]), array([1.]))
    """
    total = next(parts)
    for part in parts:
        for mine, other in zip(total, part, strict=True):
            mine += other
    return total


def this_process() -> str:
    """Name of this process among those of all machines."""
    return f"{platform.node()}:{os.getpid()}"


def clear_cache() -> None:
    """Forget the blocks kept in this process."""
    _CACHE.clear()


def _survey(data: Instance, _: None) -> Sums:
    features, count = data.features.in_double(), data.prompts
    moments = (*features.second_moments(), features.diagonal())
    return np.array(float(count)), features.adjoint(data.label), *(count * moment for moment in moments)


def _normal(data: Instance, weights: FloatArray) -> Sums:
    return (data.features.in_double().normal(weights),)


def _squared_error(data: Instance, weights: FloatArray) -> Sums:
    residual = data.label - data.features.in_double().predict(weights)
    return (np.array(residual @ residual),)


OPERATIONS: dict[str, Callable[[Instance, Any], Sums]] = {
    "survey": _survey,
    "normal": _normal,
    "squared_error": _squared_error,
}
"""Sums that a worker can be asked for; each returns arrays that nothing else refers to."""


class _BlockCache:
    """Blocks of one source, the first that fit.

    Each pass takes the blocks in turn: a cache that drops what was used least recently would drop every block before
    its next use. This one keeps what it has until another source comes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a worker may be one of several threads
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._forget(None, 0)

    def block(self, source: BlockSource, index: int, limit: int) -> Instance:
        with self._lock:
            if limit != self._limit or self._source != source:
                self._forget(source, limit)
            found = self._kept.get(index)
        if found is not None:
            return found
        made = source.block(index)
        size = made.context.nbytes + made.query.nbytes + made.label.nbytes
        with self._lock:
            if self._source == source and index not in self._kept and self._bytes + size <= self._limit:
                self._kept[index] = made
                self._bytes += size
        return made

    def _forget(self, source: BlockSource | None, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._kept: dict[int, Instance] = {}
        self._bytes = 0


_CACHE = _BlockCache()
