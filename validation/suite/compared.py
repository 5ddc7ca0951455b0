"""Every point at several dimensions: finite-size theory at each, asymptotic theory against the extrapolation."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_size import solve_finite
from iclglass.validation.agreement import Agreement
from iclglass.validation.crosscheck import compare
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples, simulate
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.suite.points import Point, Scale
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS

__all__ = ["HEADLINE", "Compared", "compare_point", "finite_size_z", "simulate_point"]

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

    point: Point
    agreement: Agreement
    finite: dict[str, FloatArray]


def simulate_point(
    point: Point,
    scale: Scale,
    *,
    seed: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: Path | None = None,
    resume_anyway: bool = False,
) -> FiniteSizeSamples:
    """The data sets of one point; resumes from the checkpoint."""
    return simulate(
        **asdict(point),
        dimensions=scale.dimensions,
        samples=scale.samples,
        seed=seed,
        workers=workers,
        progress=progress,
        checkpoint=checkpoint,
        resume_anyway=resume_anyway,
    )


def compare_point(
    point: Point,
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
        dimension=np.array(samples.dimensions),
        task_diversity=samples.task_diversity,
        context_length=samples.context_length,
        distinct_tasks=samples.distinct_tasks,
        label_noise=samples.label_noise,
        ridge=samples.ridge,
        temperature=samples.temperature,
        norm=samples.norm,
        last_feature=samples.last_feature,
        last_row=samples.last_row,
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
