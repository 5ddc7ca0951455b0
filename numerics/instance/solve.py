"""The one entry to every solver of one data set in memory; `distributed` has the one for blocks on workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from iclglass.numerics.arguments import LARGEST, check_beta, check_choice, check_generator, check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.memory import check_memory
from iclglass.numerics.running.resuming import generator_digest

__all__ = ["METHODS", "solve_instance"]

METHODS = ("gamp", "exact", "tap", "published")

_ARRAYS = 6
"""Of the size of the weights, at least, held at once: mean, variance, its error, and what an iteration needs."""

_OPTIONS = {
    "gamp": ("tolerance", "max_iterations", "damping"),
    "exact": ("tolerance", "max_iterations", "probes", "rng"),
    "tap": ("tolerance", "max_iterations", "damping"),
    "published": ("tolerance", "max_iterations", "damping", "rng"),
}
"""What each method can be told; anything else would be ignored silently, so it is refused."""


def solve_instance(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    method: str = "gamp",
    tolerance: float | None = None,
    max_iterations: int | None = None,
    damping: float | None = None,
    probes: int | None = None,
    rng: np.random.Generator | None = None,
) -> InstanceSolution:
    """Means and variances of the Boltzmann measure exp(-beta H) of one data set (SG section II).

    ridge0 = lambda0 in [0, 1e30) and beta in [1e-30, 1e30) are SG's, unscaled: lambda0 = ridge/D, beta =
    D^2/temperature.

    method "gamp"       messages on the prompts, `numerics.instance.gamp`: exact means, variances to O(1/D); the default
           "exact"      linear algebra, `numerics.instance.exact`: any size; probes and rng are for estimated variances
           "tap"        spin by spin with the reaction term, `numerics.instance.spin_by_spin`: O(n^2) memory
           "published"  spin by spin as SG's code does it, without the reaction term: biased, may diverge

    The other options default to what the method's own function says; one that the method does not take is refused. A
    divergence or a lack of convergence is a status of the solution with its reason, not an exception.

    Raises ParameterError or ParameterTypeError (a ValueError or TypeError) for values out of range.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> solution = solve_instance(data, ridge0=0.1, beta=2.0, method="exact")
    >>> solution.mean.shape, solution.status.name, bool(solution.residual < 1e-12)
    ((4, 4), 'CONVERGED', True)
    """
    check_instance(instance, remedy="; build one with Instance(context, query, label) or Instance.from_tokens(...)")
    ridge0 = check_real("ridge0", ridge0, minimum=0.0, maximum=LARGEST)
    beta = check_beta(beta)
    check_memory(
        8.0 * _ARRAYS * instance.spins,
        what=f"means and variances of {instance.spins} spins",
        remedy="take a smaller dimension",
    )
    method = check_choice("method", method, METHODS)
    named = (tolerance, max_iterations, damping, probes, rng)
    options = dict(zip(("tolerance", "max_iterations", "damping", "probes", "rng"), named, strict=True))
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    unknown = [name for name in given if name not in _OPTIONS[method]]
    if unknown:
        raise ParameterError(
            f"method {method!r} takes no {' or '.join(unknown)}; its options are {', '.join(_OPTIONS[method])}"
        )
    check_generator(rng)
    plain = {"instance": instance.digest, "ridge0": ridge0, "beta": beta, "method": method, **options}
    plain["rng"] = generator_digest(rng)  # before it is used
    solution = _solver(method)(instance, ridge0=ridge0, beta=beta, **given)
    return replace(solution, last_feature=instance.last_feature, parameters=plain)


def _solver(method: str) -> Callable[..., InstanceSolution]:
    """Imported when needed: each brings what only it uses."""
    if method == "exact":
        from iclglass.numerics.instance.exact import exact

        return exact
    if method == "gamp":
        from iclglass.numerics.instance.gamp import gamp

        return gamp
    from iclglass.numerics.instance.spin_by_spin import published, tap

    return tap if method == "tap" else published
