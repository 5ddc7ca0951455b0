"""Every point at several dimensions: finite-size theory at each, asymptotic theory against the extrapolation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_size import solve_finite
from iclglass.validation.agreement import Agreement
from iclglass.validation.crosscheck import compare
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.suite.points import RegisteredPoint
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS

__all__ = ["HEADLINE", "Compared", "compare_point", "finite_size_z"]

FloatArray = NDArray[np.float64]

HEADLINE = ("m", "q", "e_icl")
"""Quantities the verdict on the finite-size theory is about. Others, chi above all, scatter so little that a few data
sets resolve the neglected terms of order 1/D^2 (notes/finite_size.md); they are reported."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One point. agreement: asymptotic theory against the extrapolation in 1/D.

    finite: quantity -> (sizes, 4): simulated mean, standard error of the comparison, finite-size theory, asymptotic
    theory at the integers of that size. The finite-size theory of pools is an average itself; its standard error is in
    that of the comparison.
    """

    point: RegisteredPoint
    agreement: Agreement
    finite: dict[str, FloatArray]


def compare_point(
    point: RegisteredPoint,
    samples: FiniteSizeSamples,
    *,
    false_alarm: float,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
) -> Compared:
    """Both theories against the samples; false_alarm: of the asymptotic comparison, all quantities together."""
    agreement = compare(samples, false_alarm=false_alarm, largest_unseen_bias=largest_unseen_bias)
    asymptotic = {row.quantity: [size.theory for size in row.sizes] for row in agreement.rows}
    return Compared(point, agreement, finite_size_table(samples, asymptotic))


def finite_size_table(samples: FiniteSizeSamples, asymptotic: dict[str, list[float]]) -> dict[str, FloatArray]:
    """quantity -> (sizes, 4), see `Compared`."""
    theory = solve_finite(
        samples.parameters,
        dimension=np.array(samples.dimensions),
    )
    table = {}
    for name in QUANTITIES:
        if name not in asymptotic:
            continue
        mean, error = mean_and_error(samples.values[name])
        value = np.asarray(getattr(theory, name))
        sampling = np.nan_to_num(theory.standard_errors[name])
        table[name] = np.stack([mean, np.hypot(error, sampling), value, np.array(asymptotic[name])], axis=1)
    return table


def finite_size_z(results: list[Compared], names: tuple[str, ...], *, theory: str = "finite-size") -> FloatArray:
    """z of every point, size and quantity named; theory: "finite-size" or "asymptotic"."""
    column = {"finite-size": 2, "asymptotic": 3}[theory]
    rows = np.concatenate([result.finite[name] for result in results for name in names if name in result.finite])
    z: FloatArray = (rows[:, 0] - rows[:, column]) / rows[:, 1]
    return z
