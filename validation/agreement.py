"""Result of a cross-check: one row a quantity, the verdict with its power in words, and everything as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.parameters import PARAMETERS
from iclglass.validation.simulation import Simulation
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, combined, percent

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["POWER", "Agreement", "QuantityAgreement", "SizeComparison"]

POWER = 0.9
"""Probability with which a bias of the reported smallest detectable size would have failed the check."""


@dataclass(frozen=True)
class SizeComparison:
    """One quantity at one dimension, against the asymptotic theory; not part of the verdict.

    mean, standard_error : over the independent data sets.    theory : at (P/D^2, N/D, K/D).    z : their gap in
    errors.
    """

    dimension: int
    mean: float
    standard_error: float
    theory: float
    z: float


@dataclass(frozen=True)
class QuantityAgreement:
    """One quantity: the theory at D -> infinity against the simulation extrapolated to it.

    extrapolated : theory plus the extrapolated gap.    coefficients : of the gap: g and those of the powers of 1/D.
    threshold : |z| from which the quantity disagrees, were the polynomial exact; truncation : allowance for
    what its first missing term adds to the gap. It is refused unless |gap| < threshold standard_error + truncation.
    smallest_detectable_bias : see `POWER`; truncation included.    scale : what a bias is a share of.
    agrees : True, False, or None where a bias of the share asked for could have stayed unseen (`validation.verdict`).
    fit_p_value : of the polynomial in 1/D; NaN with too few dimensions to test it.
    Where theory or simulation is not finite there is no gap: agrees is False, z infinite, what cannot be computed NaN.
    """

    quantity: str
    theory: float
    extrapolated: float
    standard_error: float
    dof: float
    z: float
    threshold: float
    agrees: bool | None
    truncation: float
    smallest_detectable_bias: float
    scale: float
    fit_p_value: float
    coefficients: tuple[float, ...]
    sizes: tuple[SizeComparison, ...]

    @property
    def unseen(self) -> float:
        """The smallest detectable bias as a share of the scale."""
        return self.smallest_detectable_bias / self.scale

    @property
    def allowance(self) -> float:
        """The truncation in standard errors, to be added to the threshold."""
        return self.truncation / self.standard_error if self.standard_error > 0 else 0.0

    @property
    def limit(self) -> str:
        """What |z| was allowed, in words: the threshold and, where there is one, the allowance for truncation.

        >>> from types import SimpleNamespace
        >>> QuantityAgreement.limit.fget(SimpleNamespace(threshold=4.5, allowance=3.21))
        '4.50 + 3.21'
        """
        return f"{self.threshold:.2f}" + (f" + {self.allowance:.2f}" if self.allowance > 0 else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement(Simulation):
    """Result of a cross-check: what was simulated, and one row a quantity.

    Parameters
    ----------
    powers : tuple of int
        Powers of 1/D that were fitted.
    finite_size : bool
        Whether the corrections of the finite-size theory were taken out at every dimension before.
    false_alarm : float
        A correct theory fails with at most this probability.
    rows : tuple of QuantityAgreement
        The quantities compared.
    largest_unseen_bias : float
        The largest relative bias that may stay unseen in a quantity that agrees.
    left_out : tuple of str
        Quantities that were not compared: at these parameters they repeat another one, do not exist or diverge.
    compared_with : str
        The theory's function, by its full name.
    programs : tuple
        Which have drawn the data sets, in few words, where there are several.

    The theory is one for all layers as D -> infinity.
    """

    powers: tuple[int, ...]
    false_alarm: float
    rows: tuple[QuantityAgreement, ...]
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS
    left_out: tuple[str, ...] = ()
    compared_with: str = ""
    programs: tuple[Mapping[str, str], ...] = ()
    finite_size: bool = False

    @property
    def order(self) -> int:
        """How many powers were fitted."""
        return len(self.powers)

    @property
    def passed(self) -> bool | None:
        """Whether every quantity agrees: False if one disagrees, else None if one could hide a bias too large."""
        return combined(row.agrees for row in self.rows)

    @property
    def sentence(self) -> str:
        """The verdict in words; its first word is Inconclusive where it is."""
        names = ", ".join(row.quantity for row in self.rows)
        sizes = ", ".join(map(str, self.dimensions))
        terms = (f"{name}/D{'' if power == 1 else f'^{power}'}" for name, power in zip("ab", self.powers, strict=False))
        polynomial = " + ".join(["value", *terms])
        corrected = ", less the corrections of the finite-size theory" if self.finite_size else ""
        off = [
            str(dimension)
            for index, dimension in enumerate(self.dimensions)
            if any(row.threshold <= abs(row.sizes[index].z) < math.inf for row in self.rows)
        ]
        theory, left = (
            ("finite-size", "those of higher order") if self.finite_size else ("asymptotic", "1/D corrections")
        )
        single = (
            f"The extrapolation is checked, not any single dimension: at D = {', '.join(off)} the simulation "
            f"differs from the {theory} theory by more than the threshold, as {left} make it."
            if off
            else "The extrapolation is checked; the simulation differs from the "
            f"{theory} theory by more than the threshold at no dimension."
        )
        weak = (
            " Two dimensions cannot test the curvature in 1/D, and make a weak check: use three or more."
            if len(self.dimensions) == 2
            else ""
        )
        left_out = (
            f" Left out, as here they repeat another quantity, do not exist or diverge: {', '.join(self.left_out)}."
            if self.left_out
            else ""
        )
        return (
            f"{self._verdict}. The values of {names} extrapolated to D -> infinity ({polynomial} from D = {sizes}"
            f"{corrected}; {self.samples} data sets each) were compared with the asymptotic theory, at a false-alarm "
            f"rate of at most {self.false_alarm:g} for all {len(self.rows)} together and with an allowance for the "
            f"polynomial's first missing term{self._allowed}.{self._power} {single}{weak}{left_out}"
        )

    @property
    def _verdict(self) -> str:
        """The verdict and, where it is not agreement, whose it is."""
        if self.passed:
            return "Theory and simulation agree"
        if self.passed is None:
            unseen = ", ".join(f"{row.quantity} ({percent(row.unseen)})" for row in self.rows if row.agrees is None)
            return (
                f"Inconclusive: no quantity disagrees, but a bias of more than {percent(self.largest_unseen_bias)} "
                f"could have stayed unseen in {unseen}"
            )
        failed = ", ".join(f"{row.quantity} ({_reason(row)})" for row in self.rows if row.agrees is False)
        return f"Theory and simulation disagree in {failed}"

    @property
    def _allowed(self) -> str:
        """Quantities beyond their threshold that only the allowance for truncation lets pass."""
        found = [
            f"{row.quantity} (z = {row.z:+.1f} of {row.limit})"
            for row in self.rows
            if row.agrees is not False and row.threshold < abs(row.z) < math.inf and row.allowance > 0
        ]
        return f", which alone lets pass {', '.join(found)}" if found else ""

    @property
    def _power(self) -> str:
        """The smallest bias that would have been seen, of the quantities that agree; of the others, what to do."""
        agreed = sorted((row for row in self.rows if row.agrees), key=lambda row: row.unseen)
        said = ""
        if agreed:
            first, last = ((row.quantity, percent(row.unseen)) for row in (agreed[0], agreed[-1]))
            span = f"of {first[1]} ({first[0]})" + (f" to {last[1]} ({last[0]})" if len(agreed) > 1 else "")
            of = "" if self.passed else "Of the quantities that agree, "
            said = f" {of}{'a' if of else 'A'} bias {span} would have been seen with probability {POWER:g}."
        if any(row.agrees is None for row in self.rows):
            if self.passed is False:
                unseen = ", ".join(row.quantity for row in self.rows if row.agrees is None)
                said += f" Nothing can be said of {unseen}."
            said += " Take more samples, or dimensions further apart."
        return said

    @property
    def model(self) -> dict[str, Any]:
        """Words and strengths of the model that differ from those of ridge regression, as files hold them."""
        record = self.parameters.record()
        return {name: record[name] for name in self.parameters.chosen}

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-safe values: NaN and infinities are None."""
        plain = {name: getattr(self, name) for name in _TOLD} | {"tasks": asdict(self.tasks)} | self.model
        rows = [{**asdict(row), "unseen": row.unseen} for row in self.rows]
        told = {"schema_version": 1, "passed": self.passed, "sentence": self.sentence, **plain, "rows": rows}
        return {name: _json_safe(value) for name, value in told.items()}

    def to_dataset(self) -> xr.Dataset:
        """The rows along ``quantity``, their sizes along ``dimension``, the fitted gap along ``power`` of 1/D.

        Parameters are scalar coordinates; the verdict, its terms and the layer are attributes.
        """
        import xarray as xr

        def column(name: str) -> NDArray[Any]:
            return np.array([getattr(row, name) for row in self.rows])

        names = ("theory", "extrapolated", "z", "threshold", "truncation", "unseen", "limit")
        variables: dict[str, Any] = {name: ("quantity", column(name)) for name in names}
        variables["extrapolated_error"] = ("quantity", column("standard_error"))
        variables["coefficient"] = (("quantity", "power"), column("coefficients"))
        at_sizes = {"mean": "mean", "standard_error": "standard_error", "theory_at_size": "theory"}
        for name, given in at_sizes.items():
            values = np.array([[getattr(size, given) for size in row.sizes] for row in self.rows])
            variables[name] = (("quantity", "dimension"), values)
        point = {name: getattr(self, name) for name in PARAMETERS}
        coordinates = {name: value for name, value in point.items() if value is not None}
        coordinates |= {"quantity": column("quantity"), "dimension": list(self.dimensions)}
        coordinates["power"] = [0, *self.powers]
        attributes = {name: getattr(self, name) for name in ("norm", "last_feature", "samples", "seed", "false_alarm")}
        verdict = {True: "agree", False: "DISAGREE", None: "INCONCLUSIVE"}[self.passed]
        attributes |= {name: str(value) for name, value in self.model.items()}
        return xr.Dataset(variables, coordinates, {**attributes, "last_row": int(self.last_row), "verdict": verdict})


_TOLD = (
    *(*PARAMETERS, "norm", "last_feature", "last_row"),
    *("seed", "samples", "dimensions", "prompts", "contexts", "task_counts", "test_contexts"),
    *("order", "powers", "finite_size", "false_alarm", "largest_unseen_bias", "left_out", "compared_with", "programs"),
)


def _reason(row: QuantityAgreement) -> str:
    """Why a row disagrees, in words."""
    if math.isfinite(row.extrapolated):
        return f"z = {row.z:+.1f} of {row.limit}"
    in_theory = math.isfinite(row.theory) and all(math.isfinite(size.theory) for size in row.sizes)
    return "not finite in the simulation" if in_theory else "not finite in the theory"


def _json_safe(value: object) -> object:
    if isinstance(value, np.ndarray):
        return _json_safe(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    return value
