"""From scaled parameters to the integers of one dimension and back: the only place where these formulas stand.

    P = round(tau D^2)    N = round(alpha D)    K = round(kappa D)    lam = D lambda0    T = D^2/beta

Halves are rounded to even; numbers, or arrays elementwise. Source: notes/notation.md, `replica.model.Model.scaling`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iclglass.numerics.arguments import MOST, check_choice
from iclglass.numerics.errors import ParameterError

__all__ = ["NORMS", "Sizes", "count", "counts", "divisor", "from_unscaled", "sizes_at", "to_unscaled"]

NORMS = ("N", "N+1")
"""What the context's sums are divided by: N (LU, half of SG's code) or N + 1 (the other half: the query counts)."""

_FORMULAS = {
    "task_diversity": ("P = round(tau D^2)", 2, MOST),
    "context_length": ("N = round(alpha D)", 1, MOST),
    "test_context_length": ("round(alpha_test D)", 1, MOST),
    "distinct_tasks": ("K = round(kappa D)", 1, math.inf),  # more tasks than prompts are refused
}
_SCALED: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "prompts": ("task_diversity", lambda prompts, size: prompts / size**2),
    "context": ("context_length", lambda context, size: context / size),
    "test_context": ("test_context_length", lambda context, size: context / size),
    "task_count": ("distinct_tasks", lambda tasks, size: tasks / size),
    "ridge0": ("ridge", lambda ridge0, size: size * ridge0),
    "beta": ("temperature", lambda beta, size: size**2 / beta),
}


@dataclass(frozen=True)
class Sizes:
    """D, P, N, tokens of a test prompt, and K, which is P where every prompt has its own task; the norm, of `NORMS`."""

    dimension: int
    prompts: int
    context: int
    test_context: int
    task_count: int
    norm: str = NORMS[0]

    @property
    def divisor(self) -> int:
        """What the attention sum is divided by in pretraining."""
        return int(divisor(self.context, self.norm))


def sizes_at(dimension: int, scaled: Mapping[str, Any], norm: str = NORMS[0]) -> Sizes:
    """The integers of scaled parameters, numbers by name as in `counts`, at one dimension.

    >>> sizes_at(16, {"task_diversity": 2.0, "context_length": 1.0})
    Sizes(dimension=16, prompts=512, context=16, test_context=16, task_count=512, norm='N')
    """
    found = counts(scaled, dimension)
    found["task_count"] = min(found["task_count"], found["prompts"])
    return Sizes(dimension, **{name: int(value) for name, value in found.items()}, norm=norm)


def counts(scaled: Mapping[str, Any], dimension: Any, pool: int | None = None) -> dict[str, Any]:
    """prompts, context, test_context and task_count as whole floats; task_count is infinite where kappa is.

    ``scaled`` holds task_diversity and context_length; distinct_tasks, else infinite, in whose place may stand the
    number of tasks of a given ``pool``; test_context_length, else that of pretraining.

    Raises ParameterError: a count of 0 or beyond computing, more tasks than prompts.

    >>> counts({"task_diversity": 0.5, "context_length": 1}, np.array([5, 7]))["prompts"]  # 12.5 and 24.5
    array([12., 24.])
    """
    prompts, context = (count(name, scaled[name], dimension) for name in ("task_diversity", "context_length"))
    tested, kappa = scaled.get("test_context_length"), scaled.get("distinct_tasks", math.inf)
    if pool is None:
        tasks, limited = count("distinct_tasks", kappa, dimension), kappa < math.inf
        remedy = "larger dimensions, a larger task_diversity, fewer distinct_tasks, or inf for one task per prompt"
    else:
        tasks, limited = np.full_like(prompts, pool), True
        remedy = "a larger task_diversity, or a smaller pool"
    if (many := limited & (tasks > prompts)).any():
        size, held, needed, given = _first(many, dimension, tasks, prompts, kappa)
        raise ParameterError(
            f"{'tasks hold' if pool else f'distinct_tasks = {given:g} gives'} K = {held:.15g} tasks at dimension "
            f"{size:.0f}, more than its P = {needed:.0f} prompts; use {remedy}"
        )
    tested = context if tested is None else count("test_context_length", tested, dimension)
    return {"prompts": prompts, "context": context, "test_context": tested, "task_count": tasks}


def count(name: str, scaled: Any, dimension: Any) -> Any:
    """The count that one scaled parameter stands for, as a whole float; ParameterError: it is 0, or beyond computing.

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
    where, *others = np.broadcast_arrays(bad, *arrays)
    return [float(array[where][0]) for array in others]


def divisor(context: Any, norm: str) -> Any:
    """What the attention sum over ``context`` tokens is divided by: N, or N + 1; ParameterError: another norm."""
    return context if check_choice("norm", norm, NORMS) == NORMS[0] else context + 1


def from_unscaled(dimension: Any, **given: Any) -> dict[str, Any]:
    """The scaled parameters of prompts, context, test_context, task_count, ridge0 and beta, where given and not None.

    >>> from_unscaled(10, prompts=200, context=20, ridge0=0.01, beta=1000)
    {'task_diversity': 2.0, 'context_length': 2.0, 'ridge': 0.1, 'temperature': 0.1}
    """
    rules = ((*_SCALED[name], value) for name, value in given.items() if value is not None)
    return {name: rule(value, dimension) for name, rule, value in rules}


def to_unscaled(dimension: Any, *, ridge: Any, temperature: Any = None) -> dict[str, Any]:
    """ridge0 = lam/D, and beta = D^2/T where a temperature > 0 is given.

    >>> to_unscaled(10, ridge=0.1, temperature=0.1)
    {'ridge0': 0.01, 'beta': 1000.0}
    """
    return {"ridge0": ridge / dimension} | ({} if temperature is None else {"beta": dimension**2 / temperature})
