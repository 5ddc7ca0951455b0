"""Solves of a data set that no machine holds: row blocks made on workers, sums over them, conjugate gradients here.

With S cut into row blocks S_b, every product that conjugate gradients take is a sum, S^T S W = sum_b S_b^T S_b W. The
driver sends W with each task, workers make their blocks and add up their shares (`numerics.instance.blocks`), and the
driver adds the tasks' sums. It never sees a prompt; it holds a dozen (D+1) x D matrices.

One answer. Which blocks make up a task follows from the numbers of blocks and tasks alone, sums are added in order, and
every process runs BLAS on one thread. So the result is the same, bit for bit, serial, on threads, on processes, and for
any number of workers, on machines of one kind.

Cost a step, P prompts and w workers (notes/scaling.md): 4 P D^2/w floating-point operations and P D/w times the cost of
drawing three normal numbers; 16 D^2 bytes for each task through the driver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import (
    MOST,
    check_callable,
    check_count,
    check_flag,
    check_path,
    check_solver,
    check_type,
)
from iclglass.numerics.errors import OutputError, ParameterError, WorkerError
from iclglass.numerics.instance.blocks import BlockSource, BlockTask, Sums, added, block_sums, clear_cache, this_process
from iclglass.numerics.instance.exact import MAX_ITERATIONS, check_probes, krylov_measure
from iclglass.numerics.instance.features import zero_modes
from iclglass.numerics.instance.krylov import KrylovState
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.memory import check_memory
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.numerics.running.executor import lost_with_worker
from iclglass.numerics.running.resuming import ANEW, digest, generator_digest, program
from iclglass.numerics.running.state import kept_state
from iclglass.numerics.storage import check_writable

__all__ = ["CACHE_BYTES", "TASKS", "DistributedFeatures", "solve_distributed"]

FloatArray = NDArray[np.float64]

TASKS = 64
"""Tasks that one pass over the data is cut into: ten or more for each of a few workers, and little traffic."""

CACHE_BYTES = 256 * 2**20
"""Bytes of blocks that a worker keeps from one pass to the next."""

_ARRAYS = 13
"""Of the size of the weights, held at once by the driver."""

_WORK = "solve by conjugate gradients"
_SAVE_EVERY = 30.0
"""Seconds."""


@dataclass(frozen=True, eq=False)
class DistributedFeatures:
    """The feature matrix S of a `BlockSource`, applied block by block on an executor.

    executor : any `concurrent.futures.Executor`; None: here, one block after the other.
    tasks : a pass over the data is cut into so many tasks (or one for each block, if there are fewer). Take a few for
        each worker. Sums are added task by task: results with another number differ by rounding.
    cache_bytes : for the blocks a worker process keeps between passes, the first that fit; 0: every block is made anew
        in each pass. The numbers do not depend on it.

    It has what `krylov.response_solve` needs of a `FeatureOperator`; all products are in double precision.

    >>> from iclglass.numerics.instance.blocks import InstanceBlocks
    >>> from iclglass.numerics.instance.data import Instance
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> features = DistributedFeatures(InstanceBlocks(data, block_prompts=7))
    >>> bool(np.allclose(features.normal(np.ones((4, 3))), data.features.normal(np.ones((4, 3)))))
    True
    """

    source: BlockSource
    executor: Executor | None = None
    tasks: int = TASKS
    cache_bytes: int = CACHE_BYTES

    def __post_init__(self) -> None:
        wanted = "a BlockSource, with prompts, dimension, blocks and block(index)"
        remedy = "; iclglass.InstanceBlocks makes one of an Instance"
        check_type("source", self.source, BlockSource, wanted, remedy=remedy)
        if self.executor is not None:
            check_type("executor", self.executor, Executor, "a concurrent.futures.Executor or None")
        for name, minimum in (("tasks", 1), ("cache_bytes", 0)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), minimum=minimum, maximum=MOST))
        for name in ("prompts", "dimension", "blocks"):
            check_count(f"{name} of the source", getattr(self.source, name), minimum=1, maximum=MOST)

    @property
    def shape(self) -> tuple[int, int]:
        """(P, n), the shape of S."""
        rows, dimension = self.weight_shape
        return self.source.prompts, rows * dimension

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(D+1, D), the shape of W; (D, D) for a source that says it has no last row."""
        last_row: bool = getattr(self.source, "last_row", True)
        return self.source.dimension + bool(last_row), self.source.dimension

    @property
    def arithmetic(self) -> np.dtype[Any]:
        """Double precision."""
        return np.dtype(np.float64)

    def in_double(self) -> DistributedFeatures:
        """Itself: every product is in double precision."""
        return self

    def normal(self, weights: FloatArray) -> FloatArray:
        """S^T S W for weights (D+1, D) or a stack (K, D+1, D)."""
        return self._total("normal", weights)[0]

    def fields(self) -> FloatArray:
        """h = S^T y/P, (D+1, D)."""
        return self._survey[1] / self.source.prompts

    def second_moments(self) -> tuple[FloatArray, FloatArray]:
        """Means of u u^T, (D+1, D+1), and of xt xt^T, (D, D), over the prompts."""
        return self._survey[2] / self.source.prompts, self._survey[3] / self.source.prompts

    def diagonal(self) -> FloatArray:
        """Mean of s_ij^2 over the prompts, (D+1, D): the diagonal of S^T S/P."""
        return self._survey[4] / self.source.prompts

    def train_error(self, weights: FloatArray) -> float:
        """Mean of (y - s.W)^2 over the prompts, for weights (D+1, D)."""
        return float(self._total("squared_error", weights)[0]) / self.source.prompts

    @cached_property
    def _survey(self) -> Sums:
        """What is asked of the data once, in one pass."""
        found = self._total("survey", None)
        rows, dimension = found[1].shape
        if int(found[0]) != self.source.prompts or dimension != self.source.dimension:
            raise ParameterError(
                f"the source says {self.source.prompts} prompts in {self.source.dimension} dimensions, its "
                f"{self.source.blocks} blocks hold {int(found[0])} in {dimension}: its blocks must add up"
            )
        if rows != self.weight_shape[0]:
            raise ParameterError(
                f"the source's contexts have {rows} numbers, not {self.weight_shape[0]}: a source of contexts without "
                "the mean squared label says so by an attribute last_row = False"
            )
        return found

    def _total(self, operation: str, weights: FloatArray | None) -> Sums:
        """One pass over the data: the tasks' sums, added in the order of the blocks whenever they come."""
        with one_blas_thread():
            return added(self._parts(operation, weights))

    def _parts(self, operation: str, weights: FloatArray | None) -> Iterator[Sums]:
        if self.executor is None:
            yield from map(block_sums, self._cut(operation, weights))
            return
        futures = deque(self.executor.submit(block_sums, task) for task in self._cut(operation, weights))
        try:
            while futures:  # a sum that has been added is not kept
                yield futures.popleft().result()
        except Exception as error:
            if not lost_with_worker(error):
                raise
            raise WorkerError(
                f"a worker died during a pass over {self.source.blocks} blocks (killed, or out of memory: a worker "
                f"holds a block with its temporaries and up to cache_bytes = {self.cache_bytes} of blocks): start a "
                "new executor, with fewer workers or smaller cache_bytes or blocks, and solve again"
            ) from error
        finally:  # after an interrupt or an error nothing more is started
            for future in futures:
                future.cancel()

    def _cut(self, operation: str, weights: FloatArray | None) -> Iterator[BlockTask]:
        blocks = self.source.blocks
        count = min(self.tasks, blocks)
        for index in range(count):
            first, last = blocks * index // count, blocks * (index + 1) // count
            yield BlockTask(self.source, first, last, operation, weights, self.cache_bytes, this_process())


def solve_distributed(
    source: BlockSource,
    *,
    ridge0: float,
    beta: float,
    tolerance: float = 1e-12,
    max_iterations: int | None = None,
    probes: int = 0,
    rng: np.random.Generator | None = None,
    initial: InstanceSolution | None = None,
    executor: Executor | None = None,
    tasks: int = TASKS,
    cache_bytes: int = CACHE_BYTES,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> InstanceSolution:
    """Means A^{-1} h of one data set by conjugate gradients, its prompts in blocks on workers (SG section II).

    A = S^T S/P + ridge0, h = S^T y/P; ridge0 = lambda0 and beta are SG's, unscaled. It is road "cg" of
    `numerics.instance.exact.exact`, whose docstring has tolerance, max_iterations, rng and ridge0 = 0, with

    source : the data set in blocks, see `BlockSource`: `validation.prompt_blocks.PromptBlocks` draws it from a seed.
    probes : right-hand sides spent on the variances, each as costly as the means; 0 (the default): variances NaN.
    initial : a solution to start from, of the same data set and not converged, or at a nearby ridge. A long solve is
        cut in parts this way: save what max_iterations steps give, and go on from it later.
    executor, tasks, cache_bytes : see `DistributedFeatures`.
    checkpoint : a file in which the solve is kept, every half minute and when it ends or is interrupted; the same solve
        goes on from it, bit for bit. Of the means: probes begin anew.    fresh : begin anew, whatever it holds.
        resume_anyway : go on from what another version of the program has left; the solution's programs say so.
    progress : called with (steps done, relative residual) after each step.

    The result's residual is |h - A mean|/|h|, computed anew in one more pass. Memory: a dozen (D+1) x D matrices here;
    in a worker a block, three times its size while it is drawn, and cache_bytes.

    Raises ParameterError or ParameterTypeError for bad values or a checkpoint of another solve, OutputError for one
    that is damaged or cannot be written, WorkerError where a worker died. After an interrupt the tasks that run finish,
    no other starts.

    >>> from iclglass.numerics.instance.blocks import InstanceBlocks
    >>> from iclglass.numerics.instance.data import Instance
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> solution = solve_distributed(InstanceBlocks(data, block_prompts=7), ridge0=0.1, beta=2.0)
    >>> solution.mean.shape, solution.status.name, bool(solution.residual < 1e-12)
    ((4, 4), 'CONVERGED', True)
    """
    steps = MAX_ITERATIONS if max_iterations is None else max_iterations
    ridge0, beta, tolerance, limit = check_solver(ridge0, beta, tolerance, steps)
    probes = check_probes(probes, rng)
    features = DistributedFeatures(source, executor, tasks, cache_bytes)
    spins = features.shape[1]
    check_memory(8.0 * _ARRAYS * spins, what=f"the solve for {spins} spins", remedy="take a smaller dimension")
    start = None if initial is None else _start(initial, features, ridge0)
    check_callable("progress", progress)
    check_flag("fresh", fresh)
    check_flag("resume_anyway", resume_anyway)
    if checkpoint is not None:
        check_writable(check_path("checkpoint", checkpoint), force=True)
    try:
        with one_blas_thread():
            fields = features.fields()
            identity = {
                "prompts": source.prompts,
                "dimension": source.dimension,
                "data": digest(fields),
                "initial": None if start is None else digest(start),
                "ridge0": ridge0,
                "tolerance": tolerance,
                "tasks": min(features.tasks, source.blocks),
            }
            here = program(__name__, type(source).__module__)
            limits = {"beta": beta, "max_iterations": limit, "probes": probes, "rng": generator_digest(rng)}
            keeping = kept_state(
                checkpoint,
                _WORK,
                identity,
                here,
                arrays=vars,
                every=_SAVE_EVERY,
                fresh=fresh,
                resume_anyway=resume_anyway,
            )
            with keeping as kept:
                solution = krylov_measure(
                    features,
                    fields,
                    ridge0=ridge0,
                    beta=beta,
                    probes=probes,
                    tolerance=tolerance,
                    max_iterations=limit,
                    rng=np.random.default_rng(rng),
                    initial=start,
                    resumed=_resumed(checkpoint, kept.found, (1, *fields.shape)),
                    keep=None if checkpoint is None else kept.keep,
                    progress=progress,
                )
            programs = () if checkpoint is None else tuple(kept.store.programs)
            return replace(solution, parameters=identity | limits, programs=programs)
    finally:
        clear_cache()  # this process may have other uses for its memory


def _resumed(
    checkpoint: str | Path | None, arrays: dict[str, NDArray[Any]], shape: tuple[int, ...]
) -> KrylovState | None:
    """The state of a former run for weights of a shape (K, D+1, D); OutputError: arrays that no solve has written."""
    if not arrays:
        return None
    try:
        state = KrylovState(**arrays)
        part = (len(state.active), *shape[1:])
        wanted = {"weights": shape, "residual": shape, "correction": shape, "direction": part, "remainder": part}
        wanted |= {"product": part[:1], "target": shape[:1], "history": state.history.shape[:1]}
        for name, size in wanted.items():
            array = arrays[name]
            if array.dtype != np.float64 or array.shape != size or not np.isfinite(array).all():
                raise ValueError(f"{name} is not an array of finite doubles of shape {size}")
        if state.active.dtype != np.int64 or not set(state.active.tolist()) <= set(range(shape[0])):
            raise ValueError("active names systems that there are not")
    except (ValueError, TypeError) as error:
        raise OutputError(f"{checkpoint} is damaged ({error}): {ANEW} begins anew") from error
    return state


def _start(initial: InstanceSolution, features: DistributedFeatures, ridge0: float) -> FloatArray:
    """Weights to start from, (D+1, D), checked."""
    check_type("initial", initial, InstanceSolution, "an InstanceSolution or None")
    if cause := zero_modes(features.shape, ridge0):
        raise ParameterError(
            f"initial with {cause}: its part along the zero modes would stay, and the mean would not be the one of "
            "minimum norm; leave it out"
        )
    weights = initial.mean[:, :-1]
    if weights.shape != features.weight_shape:
        raise ParameterError(f"initial has weights of shape {weights.shape}, the source wants {features.weight_shape}")
    if not np.isfinite(weights).all():
        raise ParameterError(f"initial has no finite means to start from: {initial.reason}")
    return weights
