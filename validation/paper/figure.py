"""What a figure of the paper is: how it is simulated, drawn and judged; and what its verdict holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from iclglass.numerics.arguments import check_choice
from iclglass.validation.paper.simulating import Compute
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, combined, judged, percent

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["SCALES", "Array", "Judged", "PaperFigure", "Row", "Verdict"]

Array = NDArray[Any]
Row = tuple[str, float, float, float, float]
"""(what, ours, reference, standard error of the difference, z)."""

SCALES = ("quick", "full")


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
    simulate : (parameters, seed, what computes its parts) -> data; all random numbers follow from the seed.
    draw : (data, published arrays by relative name) -> picture.
    judge : (data, published) -> verdict.
    published : names of the files it overlays, relative to the authors' repository.
    """

    name: str
    title: str
    parameters: Callable[[str], dict[str, Any]]
    simulate: Callable[[Mapping[str, Any], int, Compute], xr.Dataset]
    draw: Callable[[xr.Dataset, Mapping[str, Array]], Figure]
    judge: Callable[[xr.Dataset, Mapping[str, Array]], Verdict]
    published: tuple[str, ...] = ()

    def checked_parameters(self, scale: str) -> dict[str, Any]:
        """The parameters at a scale; ParameterError for an unknown one."""
        return self.parameters(check_choice("scale", scale, SCALES))
