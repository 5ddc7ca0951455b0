"""What a figure of the paper is: how it is simulated, drawn and judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_choice
from iclglass.validation.statistics import (
    bonferroni_threshold,
    mean_and_error,
    smallest_detectable_bias,
    welch_satterthwaite,
)
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, combined, judged, percent

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = [
    "SCALES",
    "Judged",
    "OneByOne",
    "PaperFigure",
    "Pooled",
    "Progress",
    "Row",
    "Verdict",
    "batches",
    "compared",
    "in_parts",
    "largest",
    "one_by_one",
    "pooled",
    "quiet",
]

Array = NDArray[Any]
Row = tuple[str, float, float, float, float]
"""(what, ours, reference, standard error of the difference, z)."""

SCALES = ("quick", "full")


class Progress(Protocol):
    """Handed to a simulation: called with (done, total), and it keeps parts of long simulations."""

    def __call__(self, done: int, total: int) -> None:
        """Report how much is done."""

    def part(self, key: str, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        """The part named ``key`` (letters, digits, - and =): read if an interrupted run has left it, else simulated
        and kept. Its random numbers must follow from the seed and the key alone."""


class _Quiet:
    def __call__(self, done: int, total: int) -> None:
        pass

    def part(self, key: str, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        return simulate()


def quiet() -> Progress:
    """A progress that reports and keeps nothing.

    >>> quiet()(1, 2)
    """
    return _Quiet()


def in_parts(progress: Progress, work: Mapping[str, Callable[[], xr.Dataset]]) -> list[xr.Dataset]:
    """The parts of a long simulation, simulated by key and in this order; those of an interrupted run are there.

    A part should take well under a minute at full scale: that is what a kill loses.

    >>> import xarray as xr
    >>> [int(part.a) for part in in_parts(quiet(), {"one": lambda: xr.Dataset({"a": 1})})]
    [1]
    """
    parts = []
    for number, (key, simulate) in enumerate(work.items()):
        progress(number, len(work))
        parts.append(progress.part(key, simulate))
    progress(len(work), len(work))
    return parts


def batches(repeats: int, size: int) -> list[range]:
    """Repeats in runs of at most ``size``, for parts.

    >>> batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, repeats)) for start in range(0, repeats, size)]


@dataclass(frozen=True)
class Judged:
    """What a verdict rests on: one comparison, or several that share a limit.

    refused : beyond the limit.    unseen : the smallest relative bias that would have been seen nine times in ten, the
    largest of them where there are several; 0 where equality was checked.    carries : whether it must be able to see
    a bias. Points that are also compared all together need not: they can only refuse.
    """

    what: str
    refused: bool
    unseen: float
    carries: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came out.

    found : one line, with numbers.
    rows : (what, ours, reference, standard error of the difference, z); the reference is theory or published.
    judged : our simulation against our own theory. A disagreement of the published data with us does not count here:
        it is said in words.
    remarks : what differs and why, what is missing.
    largest_unseen_bias : the largest relative bias that may stay unseen where theory and simulation agree.
    """

    found: str
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    remarks: tuple[str, ...] = ()
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS

    @property
    def agrees(self) -> bool | None:
        """False if anything is refused; None if nothing is, but one comparison that carries could not have seen it."""
        return combined(self._agrees(one) for one in self.judged)

    def _agrees(self, one: Judged) -> bool | None:
        unseen = one.unseen if one.carries else 0.0
        return judged(refused=one.refused, unseen=unseen, largest=self.largest_unseen_bias)

    @property
    def sentence(self) -> str:
        """What was found; its first word is Inconclusive where it is."""
        if self.agrees is not None:
            return self.found
        weak = [f"{one.what} ({percent(one.unseen)})" for one in self.judged if self._agrees(one) is None]
        return (
            f"Inconclusive: a bias of more than {percent(self.largest_unseen_bias)} could have stayed unseen in "
            f"{', '.join(weak) or 'everything, as nothing was compared'}; {self.found}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        names = ("what", "ours", "reference", "standard_error", "z")
        return {
            "sentence": self.sentence,
            "agrees": self.agrees,
            "largest_unseen_bias": self.largest_unseen_bias,
            "judged": [asdict(one) for one in self.judged],
            "rows": [dict(zip(names, row, strict=True)) for row in self.rows],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, eq=False)
class PaperFigure:
    """One figure.

    name, title : "fig-S1" and what it shows.
    parameters : scale -> parameters of the simulation, plain values: the paper's at "full", reduced at "quick".
    simulate : (scale, seed, progress) -> data; all random numbers follow from the seed.
    draw : (data, published arrays by relative name) -> picture.
    judge : (data, published) -> verdict.
    published : names of the files it overlays, relative to the authors' repository.
    """

    name: str
    title: str
    parameters: Callable[[str], dict[str, Any]]
    simulate: Callable[[str, int, Progress], xr.Dataset]
    draw: Callable[[xr.Dataset, Mapping[str, Array]], Figure]
    judge: Callable[[xr.Dataset, Mapping[str, Array]], Verdict]
    published: tuple[str, ...] = field(default=())

    def checked_parameters(self, scale: str) -> dict[str, Any]:
        """The parameters at a scale; ParameterError for an unknown one."""
        return self.parameters(check_choice("scale", scale, SCALES))


def compared(what: str, ours: SupportsFloat, reference: SupportsFloat, error: SupportsFloat) -> Row:
    """A row of a verdict; z is NaN where there is no standard error.

    >>> compared("m", 1.2, 1.0, 0.1)[4].__round__(6)
    2.0
    """
    value, wanted, spread = float(ours), float(reference), float(error)
    return what, value, wanted, spread, (value - wanted) / spread if spread > 0 else math.nan


def largest(rows: Sequence[Row]) -> float:
    """The largest |z|; NaN for no rows, infinite where one z is not a number.

    >>> largest([compared("m", 1.0, 2.0, 0.5), compared("q", 1.0, 1.0, 0.5)])
    2.0
    """
    if not rows:
        return math.nan
    z = np.abs([row[4] for row in rows])
    return float(np.max(np.where(np.isnan(z), math.inf, z)))


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
    rows: Sequence[Row], limits: float | Sequence[float], dof: ArrayLike, *, scales: ArrayLike | None = None
) -> OneByOne:
    """Judge each row by itself. dof : of its standard error.    scales : what biases are shares of; the references.

    >>> found = one_by_one([compared("m", 1.2, 1.0, 0.1)], 4.0, 20)
    >>> str(found), found.refused
    ('|z| <= 2.0 of 4.0 allowed (a bias of 55 % would be seen)', False)
    """
    allowed, freedom = (np.broadcast_to(np.asarray(array, dtype=np.float64), len(rows)) for array in (limits, dof))
    sizes = np.abs([row[2] for row in rows] if scales is None else np.asarray(scales, dtype=np.float64))
    biases = {pair: smallest_detectable_bias(1.0, *pair) for pair in set(zip(allowed, freedom, strict=True))}
    seen = [row[3] * biases[pair] for row, pair in zip(rows, zip(allowed, freedom, strict=True), strict=True)]
    unseen = np.array(seen) / sizes
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
