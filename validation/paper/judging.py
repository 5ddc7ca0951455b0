"""How a figure's simulation is held against theory: rows with z, their limits, and the biases that would be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from iclglass.validation.paper.figure import Array, Judged, Row
from iclglass.validation.statistics import (
    bonferroni_threshold,
    mean_and_error,
    smallest_detectable_bias,
    welch_satterthwaite,
)
from iclglass.validation.verdict import percent

__all__ = ["OneByOne", "Pooled", "compared", "largest", "means", "one_by_one", "pooled", "span", "where_both"]


def compared(what: str, ours: SupportsFloat, reference: SupportsFloat, error: SupportsFloat) -> Row:
    """A row of a verdict; z is NaN where there is no standard error.

    >>> compared("m", 1.2, 1.0, 0.1)[4].__round__(6)
    2.0
    """
    value, wanted, spread = float(ours), float(reference), float(error)
    return what, value, wanted, spread, (value - wanted) / spread if spread > 0 else math.nan


def means(what: Iterable[str], samples: ArrayLike, references: ArrayLike, errors: ArrayLike = 0.0) -> list[Row]:
    """A row for each mean over the last axis of the samples. errors : standard errors of the references.

    >>> means(["m"], [[1.0, 2.0, 3.0]], 1.0)[0][:3]
    ('m', 2.0, 1.0)
    """
    mean, error = mean_and_error(samples)
    wanted, spread = np.broadcast_to(references, mean.shape), np.hypot(error, errors)
    return [compared(*one) for one in zip(what, mean.flat, wanted.flat, spread.flat, strict=True)]


def where_both(what: str, points: Array, samples: Array, published: Sequence[Array]) -> list[Row]:
    """Our means over the last axis against a published curve, at the N that both have.

    published : N, means, standard errors.

    >>> where_both("m", np.array([5, 7]), np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[7.0], [1.0], [0.5]]))
    [('m, N=7: published', 2.0, 1.0, 0.5, 2.0)]
    """
    mean, error = mean_and_error(samples)
    there, theirs, spread = published
    pairs = [(k, place) for k, point in enumerate(points) for place in np.flatnonzero(there == point)]
    names = [f"{what}, N={points[k]:g}: published" for k, _ in pairs]
    numbers = [(mean[k], theirs[place], np.hypot(error[k], spread[place])) for k, place in pairs]
    return [compared(name, *one) for name, one in zip(names, numbers, strict=True)]


def largest(rows: Sequence[Row]) -> float:
    """The largest |z|; NaN for no rows, infinite where one z is not a number.

    >>> largest([compared("m", 1.0, 2.0, 0.5), compared("q", 1.0, 1.0, 0.5)])
    2.0
    """
    if not rows:
        return math.nan
    z = np.abs([row[4] for row in rows])
    return float(np.max(np.where(np.isnan(z), math.inf, z)))


def span(z: ArrayLike) -> str:
    """From the smallest to the largest z, for a sentence.

    >>> span([-1.0, 2.0])
    '-1.0 to +2.0 standard errors'
    """
    return f"{np.min(z):+.1f} to {np.max(z):+.1f} standard errors"


@dataclass(frozen=True)
class OneByOne:
    """Comparisons one by one, at one limit of |z| or one for each.

    largest : the largest |z|.    limits : smallest and largest |z| allowed.    unseen : smallest and largest of the
    relative biases that would be seen nine times in ten, row by row.
    """

    largest: float
    limits: tuple[float, float]
    unseen: tuple[float, float]
    refused: bool

    def judged(self, what: str, *, carries: bool = True) -> Judged:
        """As a part of a verdict."""
        return Judged(what, self.refused, self.unseen[1], carries)

    def __str__(self) -> str:
        """For a sentence."""
        low, high = self.limits
        allowed = f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
        least, most = (percent(share) for share in self.unseen)
        seen = f"a bias of {least}" if least == most else f"biases of {least} to {most}"
        return f"|z| <= {self.largest:.1f} of {allowed} allowed ({seen} would be seen)"


def one_by_one(
    rows: Sequence[Row],
    dof: ArrayLike,
    *,
    false_alarm: float = 1e-3,
    comparisons: int | None = None,
    limits: ArrayLike | None = None,
    scales: ArrayLike | None = None,
) -> OneByOne:
    """Judge each row by itself.

    Parameters
    ----------
    dof
        Degrees of freedom of the standard errors: one number, or one a row.
    false_alarm, comparisons
        All so many comparisons, by default the rows, refuse a correct theory at this rate together (Bonferroni).
    limits
        |z| allowed instead: one number, or one a row.
    scales
        What biases are shares of; the references.

    >>> found = one_by_one([compared("m", 1.2, 1.0, 0.1)], 20, limits=4.0)
    >>> str(found), found.refused
    ('|z| <= 2.0 of 4.0 allowed (a bias of 55 % would be seen)', False)
    """
    freedom = np.broadcast_to(np.asarray(dof, dtype=np.float64), len(rows))
    if limits is None:
        count = comparisons or len(rows)
        each = {one: bonferroni_threshold(false_alarm, count, one) for one in set(freedom.tolist())}
        limits = [each[one] for one in freedom.tolist()]
    allowed = np.broadcast_to(np.asarray(limits, dtype=np.float64), len(rows))
    sizes = np.abs([row[2] for row in rows] if scales is None else np.asarray(scales, dtype=np.float64))
    pairs = list(zip(allowed.tolist(), freedom.tolist(), strict=True))
    biases = {pair: smallest_detectable_bias(1.0, *pair) for pair in set(pairs)}
    unseen = np.array([row[3] * biases[pair] for row, pair in zip(rows, pairs, strict=True)]) / sizes
    refused = any(not largest([row]) < limit for row, limit in zip(rows, allowed, strict=True))
    spans = [(float(array.min()), float(array.max())) for array in (allowed, unseen)]
    return OneByOne(largest(rows), spans[0], spans[1], refused)


@dataclass(frozen=True)
class Pooled:
    """All points of a figure in one comparison.

    row : (what, measured over theory, 1 or the nearest ratio allowed, its standard error, z).
    dof : degrees of freedom of the standard error.
    limit : |z| allowed.
    above : relative excess that is allowed for another cause; z is counted from there.
    smallest : the relative bias that |z| > limit would catch nine times in ten.
    """

    row: Row
    dof: float
    limit: float
    above: float
    smallest: float

    @property
    def agrees(self) -> bool:
        """|z| within the limit; nothing is said of its power, which `judged` holds."""
        return abs(self.row[4]) < self.limit

    def judged(self) -> Judged:
        """As a part of a verdict."""
        return Judged(self.row[0], not self.agrees, self.smallest)

    def __str__(self) -> str:
        """For a sentence: the ratio, its z and the bias that would be seen."""
        _, ratio, _, error, z = self.row
        beyond = f" beyond 1 to {1 + self.above:g}" if self.above else ""
        return (
            f"{ratio:.4f} +- {error:.4f}, z = {z:+.1f}{beyond} of {self.limit:.1f} allowed "
            f"(a bias of {self.smallest:.1%} would be seen)"
        )


def pooled(
    what: str, ratios: Array, *, false_alarm: float, comparisons: int, like: Array | None = None, above: float = 0.0
) -> Pooled:
    """The mean of measured over theoretical values over points and repeats, against 1.

    ratios : (points, repeats), measured over theory, one number for every data set; at least 2 repeats. What one data
        set gives at several points or ridges must have been averaged before: it is one sample.
    comparisons : all that are made at the false-alarm rate ``false_alarm`` together (Bonferroni).
    like : (points, repeats') ratios of the same spread, from which it is taken instead: where ``ratios`` has too few.
    above : relative excess that has a known cause other than the theory, up to which the ratio may lie above 1.

    With r_i the mean of point i and s_i its standard error over n repeats,

        r = (1/k) sum_i r_i,    s^2 = (1/k^2) sum_i s_i^2,    z = (r - 1)/s

    is compared with Student's t of Welch and Satterthwaite's degrees of freedom, up to k (n-1), where point by point
    there are n-1: a few repeats at many points see a bias that they share, which no single point can show. Assumed:
    data sets are independent from point to point and from repeat to repeat, and close to Gaussian. Spreads may differ
    from point to point. Biases of opposite signs cancel in it: the comparison point by point stays beside it.

    Welch and Satterthwaite want the true spreads; with those estimated from few repeats the degrees of freedom come
    out too small on average, and the limit too large rather than too small.

    >>> one = pooled("error", np.array([[1.08, 1.1, 1.12], [0.99, 1.0, 1.01]]), false_alarm=0.05, comparisons=1)
    >>> [round(number, 4) for number in (one.row[1], one.row[3], one.dof, one.limit)], one.agrees
    ([1.05, 0.0065, 2.9412, 3.2188], False)
    """
    count, repeats = ratios.shape
    source = ratios if like is None else like
    error = mean_and_error(source)[1] * math.sqrt(source.shape[1] / repeats)
    spread = math.sqrt(float(np.sum(error**2))) / count
    dof = welch_satterthwaite(np.full(count, 1 / count), error, source.shape[1] - 1)
    limit = bonferroni_threshold(false_alarm, comparisons, dof)
    ratio = float(ratios.mean())
    row = compared(what, ratio, min(max(ratio, 1.0), 1.0 + above), spread)
    return Pooled(row, dof, limit, above, above + smallest_detectable_bias(spread, limit, dof))
