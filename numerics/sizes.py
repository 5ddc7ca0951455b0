"""From scaled parameters to the integers of one dimension and back: the only place where these formulas stand.

    P = round(tau D^2)    N = round(alpha D)    K = round(kappa D)    lam = D lambda0    T = D^2/beta

Halves are rounded to even. The attention sum is divided by N or N + 1. Source: notes/notation.md; the same scaling as
symbols is `replica.model.Model.scaling`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import MOST, check_choice
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow

__all__ = ["NORMS", "SCALED", "Sizes", "count", "counts", "divisor", "from_unscaled", "sizes_at", "to_unscaled"]

Array = NDArray[np.float64]
Tokens = TypeVar("Tokens", int, Array)

NORMS = ("N", "N+1")
"""What the context's sums are divided by: N (LU, half of SG's code) or N + 1 (the other half: the query counts)."""

_FORMULAS = {
    "task_diversity": ("P = round(tau D^2)", 2, MOST),
    "context_length": ("N = round(alpha D)", 1, MOST),
    "test_context_length": ("round(alpha_test D)", 1, MOST),
    "distinct_tasks": ("K = round(kappa D)", 1, math.inf),  # more tasks than prompts are refused
}

SCALED = tuple(_FORMULAS)
"""The scaled parameters that counts follow from."""


@dataclass(frozen=True)
class Sizes:
    """The integers of one dimension.

    Attributes:
        dimension, prompts, context: D, P, N.
        test_context: tokens of a test prompt.
        task_count: K; P where every prompt has its own task.
        norm: one of `NORMS`.
        layer: the last feature, and whether there is one.
    """

    dimension: int
    prompts: int
    context: int
    test_context: int
    task_count: int
    norm: str = NORMS[0]
    layer: LastRow = UNIT_TOKENS

    @property
    def divisor(self) -> int:
        """What the attention sum is divided by in pretraining."""
        return divisor(self.context, self.norm)

    @property
    def rows(self) -> int:
        """Rows of W: D + 1, or D."""
        return self.layer.rows(self.dimension)


def sizes_at(
    dimension: int,
    *,
    task_diversity: float,
    context_length: float,
    distinct_tasks: float = math.inf,
    test_context_length: float | None = None,
    norm: str = NORMS[0],
    layer: LastRow = UNIT_TOKENS,
) -> Sizes:
    """The integers of scaled parameters at one dimension.

    Raises:
        ParameterError: as `counts`.

    Examples:
        >>> found = sizes_at(16, task_diversity=2.0, context_length=1.0, distinct_tasks=0.5, norm="N+1")
        >>> found.prompts, found.context, found.task_count, found.divisor, found.rows
        (512, 16, 8, 17, 17)
    """
    scaled = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "distinct_tasks": distinct_tasks,
        "test_context_length": context_length if test_context_length is None else test_context_length,
    }
    found = counts(scaled, dimension)
    found["task_count"] = min(found["task_count"], found["prompts"])
    return Sizes(dimension, **{name: int(value) for name, value in found.items()}, norm=norm, layer=layer)


def counts(scaled: Mapping[str, Any], dimension: Any, pool: int | None = None) -> dict[str, Any]:
    """prompts, context, test_context and task_count, elementwise; task_count is infinite where kappa is.

    Args:
        scaled: task_diversity, context_length, test_context_length and distinct_tasks, > 0; others are left alone.
        dimension: D, whole.
        pool: number of tasks of a given pool, in place of distinct_tasks.

    Raises:
        ParameterError: a count of 0 or beyond computing, more tasks than prompts.

    Examples:
        >>> one = {"task_diversity": 0.5, "context_length": 1, "test_context_length": 2, "distinct_tasks": np.inf}
        >>> counts(one, np.array([5, 7]))["prompts"]  # 12.5 and 24.5
        array([12., 24.])
    """
    prompts, context, tested = (count(name, scaled[name], dimension) for name in SCALED[:3])
    if pool is None:
        kappa = scaled["distinct_tasks"]
        tasks = count("distinct_tasks", kappa, dimension)
        many = (tasks > prompts) & (kappa < math.inf)
        remedy = "larger dimensions, a larger task_diversity, fewer distinct_tasks, or inf for one task per prompt"
    else:
        tasks = np.full_like(prompts, pool)
        many = tasks > prompts
        remedy = "a larger task_diversity, or a smaller pool"
    if many.any():
        size, held, needed = _first(many, dimension, tasks, prompts)
        source = "tasks hold" if pool else f"distinct_tasks = {_first(many, kappa)[0]:g} gives"
        raise ParameterError(
            f"{source} K = {held:.15g} tasks at dimension {size:.0f}, more than its P = {needed:.0f} prompts; "
            f"use {remedy}"
        )
    return {"prompts": prompts, "context": context, "test_context": tested, "task_count": tasks}


def count(name: str, scaled: Any, dimension: Any) -> Any:
    """The count that one scaled parameter stands for, as a whole float: of numbers, or of arrays elementwise.

    Raises:
        ParameterError: it is 0, or beyond computing.

    Examples:
        >>> int(count("task_diversity", 2.0, 16))
        512
    """
    formula, power, most = _FORMULAS[name]
    with np.errstate(over="ignore"):  # what overflows is refused
        found = np.rint(scaled * (1.0 * dimension) ** power)
    if (good := (found >= 1) & (found <= most)).all():
        return found
    value, size, number = _first(~good, scaled, dimension, found)
    source = f"{name} = {value:g} gives {formula}"
    if number > most:
        raise ParameterError(f"{source} = {number:g} at dimension {size:.0f}, beyond {most:g}")
    # Halves are rounded to even, so 1/2 to 0.
    limit = (0.5 / value) ** (1 / power)
    least = f"{math.floor(limit) + 1}" if math.isfinite(limit) else "beyond any"
    raise ParameterError(f"{source} = 0 at dimension {size:.0f}; the smallest usable dimension is {least}")


def _first(bad: Any, *arrays: Any) -> list[float]:
    """The values of arrays at the first point that is bad."""
    where, *others = np.broadcast_arrays(bad, *arrays)
    return [float(array[where][0]) for array in others]


def divisor(context: Tokens, norm: str) -> Tokens:
    """What the attention sum over ``context`` tokens is divided by: N, or N + 1.

    Raises:
        ParameterError: another norm.

    Examples:
        >>> divisor(20, "N"), divisor(20, "N+1")
        (20, 21)
    """
    return context if check_choice("norm", norm, NORMS) == NORMS[0] else context + 1


def from_unscaled(
    dimension: Any,
    *,
    prompts: Any = None,
    context: Any = None,
    task_count: Any = None,
    test_context: Any = None,
    ridge0: Any = None,
    beta: Any = None,
) -> dict[str, Any]:
    """The scaled parameters, by name, of those unscaled ones that are given: numbers, or arrays elementwise.

    tau = P/D^2, alpha = N/D, kappa = K/D, lam = D lambda0, T = D^2/beta.

    Examples:
        >>> from_unscaled(10, prompts=200, context=20, ridge0=0.01, beta=1000)
        {'task_diversity': 2.0, 'context_length': 2.0, 'ridge': 0.1, 'temperature': 0.1}
    """
    square = dimension**2
    scaled = {
        "task_diversity": None if prompts is None else prompts / square,
        "context_length": None if context is None else context / dimension,
        "distinct_tasks": None if task_count is None else task_count / dimension,
        "test_context_length": None if test_context is None else test_context / dimension,
        "ridge": None if ridge0 is None else dimension * ridge0,
        "temperature": None if beta is None else square / beta,
    }
    return {name: value for name, value in scaled.items() if value is not None}


def to_unscaled(dimension: Any, *, ridge: Any, temperature: Any = None) -> dict[str, Any]:
    """ridge0 = lam/D, and beta = D^2/T where a temperature > 0 is given: numbers, or arrays elementwise.

    Examples:
        >>> to_unscaled(10, ridge=0.1, temperature=0.1)
        {'ridge0': 0.01, 'beta': 1000.0}
    """
    ridge0 = {"ridge0": ridge / dimension}
    return ridge0 if temperature is None else {**ridge0, "beta": dimension**2 / temperature}
