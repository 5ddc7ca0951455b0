"""A data set drawn in row blocks, each from (seed, block): any process can draw any block, none needs all of them.

The law is that of `validation.prompts.draw_prompts`; the numbers are not those of one call of it. Block b has a random
stream of its own, SeedSequence(seed, spawn_key=(D, prompts in a block, b)), and the last block is drawn whole and cut.
So data sets of different P, other things equal, are the beginnings of one another, and those of another block size are
independent.
"""

import functools
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from iclglass.numerics.arguments import MOST, FloatArray, check_count, check_type, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.blocks import BLOCK_PROMPTS
from iclglass.numerics.instance.distributed import CACHE_BYTES, TASKS, DistributedFeatures
from iclglass.numerics.memory import check_memory
from iclglass.validation.observables import weight_quantities
from iclglass.validation.pools import draw_pool
from iclglass.validation.prompts import PromptLaw, Prompts, draw_prompts

__all__ = ["PromptBlocks", "measure_blocks"]


@dataclass(frozen=True, kw_only=True)
class PromptBlocks(PromptLaw):
    """P prompts of N labelled tokens in D dimensions: a `numerics.instance.blocks.BlockSource` of a few numbers.

    Parameters
    ----------
    dimension, context, prompts, label_noise, norm, last_feature, last_row
        As in `draw_prompts`.
    task_count : int, optional
        K, tasks in a pool drawn from the seed, of which each prompt draws one; None: every prompt has its own.
    seed : int
        At least 0.
    block_prompts : int
        Prompts in a block, at least 1; another number is another data set.

    Raises
    ------
    ParameterError, ParameterTypeError
        A value outside its range.

    Examples
    --------
    >>> source = PromptBlocks(dimension=4, context=8, prompts=10, seed=1, block_prompts=4)
    >>> source.blocks, source.block(2).prompts
    (3, 2)
    >>> bool(np.all(source.block(2).query == source.whole().query[8:]))
    True
    """

    task_count: int | None = None
    seed: int
    block_prompts: int = BLOCK_PROMPTS

    def __post_init__(self) -> None:
        super().__post_init__()
        counts: dict[str, tuple[int, int | None]] = {"seed": (0, None), "block_prompts": (1, MOST)}
        if self.task_count is not None:
            counts["task_count"] = (1, MOST)
        for name, (minimum, maximum) in counts.items():
            value = check_count(name, getattr(self, name), minimum=minimum, maximum=maximum)
            object.__setattr__(self, name, value)

    @property
    def blocks(self) -> int:
        """Number of row blocks."""
        return -(-self.prompts // self.block_prompts)

    def block(self, index: int) -> Prompts:
        """The prompts of one block; the same numbers whenever and wherever it is called.

        Raises ParameterError unless 0 <= index < blocks.
        """
        index = check_count("index", index, minimum=0)
        if index >= self.blocks:
            raise ParameterError(f"block {index} of {self.blocks}: the last one is {self.blocks - 1}")
        key = (self.dimension, self.block_prompts, index)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        tasks = None if self.task_count is None else _pool(self.dimension, self.task_count, self.seed)
        drawn = draw_prompts(**self.law() | {"prompts": self.block_prompts}, tasks=tasks, rng=rng)
        return self._prompts([drawn], min(self.block_prompts, self.prompts - index * self.block_prompts))

    def whole(self) -> Prompts:
        """All prompts in memory, P (2 D + 2) numbers: to compare with, or to measure what needs all of them.

        Raises ParameterError where they do not fit.
        """
        check_memory(
            32.0 * self.prompts * (self.dimension + 1),  # the blocks, and all of them together
            what=f"{self.prompts} prompts of dimension {self.dimension} in one piece",
            remedy="solve_distributed takes them in blocks",
        )
        return self._prompts([self.block(index) for index in range(self.blocks)], self.prompts)

    def _prompts(self, parts: list[Prompts], count: int) -> Prompts:
        """The first prompts of several parts as one data set."""
        arrays = [
            getattr(parts[0], name) if len(parts) == 1 else np.concatenate([getattr(part, name) for part in parts])
            for name in ("context", "query", "label")
        ]
        context, query, label = (array[:count] for array in arrays)
        return replace(parts[0], context=context, query=query, label=label)


def measure_blocks(
    source: PromptBlocks,
    weights: FloatArray,
    *,
    executor: Executor | None = None,
    tasks: int = TASKS,
    cache_bytes: int = CACHE_BYTES,
) -> dict[str, float]:
    """m, q, e_icl, e_idg, e_train and contrast of weights, see `validation.observables`; e_train takes a pass.

    e_icl is for new tasks in prompts of as many tokens as in pretraining.

    Parameters
    ----------
    source : PromptBlocks
    weights : (D+1, D) array_like
        Without last row (D, D).
    executor, tasks, cache_bytes
        As in `numerics.instance.distributed.DistributedFeatures`.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ParameterError, ParameterTypeError
        Another source, weights of another shape.

    Examples
    --------
    >>> from iclglass.numerics.instance.distributed import solve_distributed
    >>> source = PromptBlocks(dimension=4, context=8, prompts=32, seed=1)
    >>> solution = solve_distributed(source, ridge0=0.1 / 4, beta=1.0)
    >>> found = measure_blocks(source, solution.mean[:, :-1])
    >>> 0 < found["e_train"] < found["e_icl"] < 1
    True
    """
    check_type("source", source, PromptBlocks, "a PromptBlocks")
    weights = doubles("weights", weights)
    shape = (source.layer.rows(source.dimension), source.dimension)
    if weights.shape != shape:
        raise ParameterError(
            f"weights must have shape {shape}, rows and columns, got {weights.shape}: of a solution "
            "solution.mean[:, :-1]"
        )
    found = weight_quantities(source.block(0), weights)  # one block says what the law is
    features = DistributedFeatures(source, executor, tasks, cache_bytes)
    return found | {"e_train": features.train_error(weights)}


@functools.lru_cache(maxsize=1)
def _pool(dimension: int, count: int, seed: int) -> FloatArray:
    """The pool of a seed; blocks have at least one prompt, so no block has its key."""
    stream = np.random.SeedSequence(seed, spawn_key=(dimension, 0, count))
    return draw_pool(dimension=dimension, count=count, rng=np.random.default_rng(stream))
