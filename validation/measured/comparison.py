"""Result of a comparison of measurements with the theory: one row each, the verdict with its power in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.validation.agreement import POWER
from iclglass.validation.measured.table import Table
from iclglass.validation.verdict import combined, percent

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Comparison", "MeasuredRow"]


@dataclass(frozen=True)
class MeasuredRow:
    """One measurement against the theory.

    row : in the table, from 1.    standard_error, dof : of the mean, and what it was estimated with.
    theory, theory_error : the theory and the standard error of its averages over pools.
    error : of the deviation: that of the mean, that of the theory and what is allowed for it, in quadrature.
    z : (mean - theory)/error.    limit : |z| from which the row disagrees.    agrees : None: it was left out.
    smallest_detectable_bias : what would have failed with probability 0.9.    unseen : it over |theory|.
    left_out : why there is nothing to compare with; empty where there is.
    """

    row: int
    quantity: str
    mean: float
    standard_error: float
    dof: float
    theory: float
    theory_error: float
    error: float
    z: float
    limit: float
    agrees: bool | None
    smallest_detectable_bias: float
    unseen: float
    left_out: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """Measurements against the theory at their parameters.

    Attributes
    ----------
    rows : tuple of MeasuredRow
        In the order of the table.
    allow : float
        Relative standard uncertainty allowed for the theory.
    false_alarm : float
        A correct theory fails with at most this probability.
    largest_unseen_bias : float
        The largest relative bias of a quantity that may stay unseen where it is said to agree.
    fixed : Mapping
        Parameters given for all rows.
    defaults : Mapping
        Those that neither table nor caller gives, at their defaults.
    table : Table
        What was read.
    """

    rows: tuple[MeasuredRow, ...]
    allow: float
    false_alarm: float
    largest_unseen_bias: float
    fixed: Mapping[str, Any]
    defaults: Mapping[str, Any]
    table: Table

    @cached_property
    def compared(self) -> tuple[MeasuredRow, ...]:
        """The rows that there is a theory of, and that do not repeat another one."""
        return tuple(row for row in self.rows if not row.left_out)

    @cached_property
    def unseen(self) -> dict[str, float]:
        """Quantity -> the smallest relative bias, the same in all its rows, that would have been seen.

        That of its most telling row: whether rows are independent does not matter.
        """
        found: dict[str, float] = {}
        for row in self.compared:
            found[row.quantity] = min(row.unseen, found.get(row.quantity, math.inf))
        return found

    @property
    def passed(self) -> bool | None:
        """False if a row disagrees, else None if a bias too large could hide in a quantity, or nothing was compared."""
        weak = any(not share <= self.largest_unseen_bias for share in self.unseen.values())
        return combined([*(row.agrees for row in self.compared), *([None] if weak else [])])

    @property
    def chi_squared(self) -> float:
        """Sum of z^2."""
        return float(sum(row.z**2 for row in self.compared))

    @property
    def expected(self) -> float:
        """What chi^2/dof is on average where the theory is exact and nothing is allowed: the mean of nu/(nu - 2).

        More than 1, as errors are estimated from a few runs; infinite where a row has three or fewer.
        """
        shares = [
            1.0 if math.isinf(row.dof) else row.dof / (row.dof - 2) if row.dof > 2 else math.inf for row in self.rows
        ]
        return float(np.mean(shares)) if shares else math.nan

    @property
    def sentence(self) -> str:
        """The verdict in words; its first word is Inconclusive where it is."""
        count = len(self.compared)
        if not count:
            return f"Inconclusive: none of {len(self.rows)} measurements could be compared.{self._left_out}"
        largest = max(self.compared, key=lambda row: abs(row.z))
        expected = f" ({self.expected:.2f} expected of errors from so few runs)" if 1.05 < self.expected < 10 else ""
        allowed = f" with {percent(self.allow)} allowed for the theory" if self.allow else ""
        each = "measurement was" if count == 1 else "measurements were"
        return (
            f"{self._verdict}. {count} {each} compared, no parameter fitted,{allowed} at a false-alarm rate of at most "
            f"{self.false_alarm:g} for all together: chi^2/dof {self.chi_squared / count:.2f}{expected}, |z| < 2 in "
            f"{100 * np.mean([abs(row.z) < 2 for row in self.compared]):.0f} %, largest |z| {abs(largest.z):.1f} of "
            f"{largest.limit:.1f} (row {largest.row}).{self._power}{self._left_out}"
        )

    @property
    def _verdict(self) -> str:
        if self.passed:
            return "Measurements and theory agree"
        if self.passed is None:
            weak = ", ".join(
                f"{name} ({percent(share)})"
                for name, share in self.unseen.items()
                if not share <= self.largest_unseen_bias
            )
            return (
                f"Inconclusive: no row disagrees, but a bias of more than {percent(self.largest_unseen_bias)} could "
                f"have stayed unseen in {weak}; take more runs"
            )
        failed = [row for row in self.compared if row.agrees is False]
        shown = ", ".join(f"{row.row} ({row.quantity}, z = {row.z:+.1f} of {row.limit:.1f})" for row in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        return f"Measurements and theory disagree in row{'s' if len(failed) > 1 else ''} {shown}{more}"

    @property
    def _power(self) -> str:
        told = ", ".join(f"{percent(share)} in {name}" for name, share in self.unseen.items())
        weak = [row for row in self.compared if not row.unseen <= self.largest_unseen_bias]
        blind = (
            f" {len(weak)} row{'s' if len(weak) > 1 else ''} alone could not have seen one of "
            f"{percent(self.largest_unseen_bias)}."
            if weak
            else ""
        )
        return f" A bias of {told}, alike in all rows, would have been seen with probability {POWER:g}.{blind}"

    @property
    def _left_out(self) -> str:
        reasons: dict[str, list[int]] = {}
        for row in self.rows:
            if row.left_out:
                reasons.setdefault(row.left_out, []).append(row.row)
        told = [
            f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))} ({reason})"
            for reason, rows in reasons.items()
        ]
        return f" Left out: {'; '.join(told)}." if told else ""

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values; NaN and infinities are None."""
        return {
            "passed": self.passed,
            "sentence": self.sentence,
            "chi_squared": self.chi_squared,
            "compared": len(self.compared),
            "unseen": self.unseen,
            **{name: getattr(self, name) for name in ("allow", "false_alarm", "largest_unseen_bias")},
            "fixed": {name: _plain(value) for name, value in self.fixed.items()},
            "defaults": dict(self.defaults),
            "unused_columns": list(self.table.unused),
            "rows": [{name: _plain(value) for name, value in asdict(row).items()} for row in self.rows],
        }

    def to_dataset(self) -> xr.Dataset:
        """The numbers of the rows along ``row``; the verdict and its terms are attributes."""
        import xarray as xr

        verdict = {True: "agree", False: "DISAGREE", None: "INCONCLUSIVE"}[self.passed]
        names = [name for name in MeasuredRow.__dataclass_fields__ if name not in ("row", "agrees")]
        variables = {name: ("row", np.array([getattr(row, name) for row in self.rows])) for name in names}
        attributes = {"verdict": verdict, "allow": self.allow, "false_alarm": self.false_alarm}
        count = max(1, len(self.compared))
        attributes |= {"chi_squared_per_dof": self.chi_squared / count, "compared": len(self.compared)}
        return xr.Dataset(variables, {"row": [row.row for row in self.rows]}, attributes)

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write the table as csv with the theory, z and the verdict of every row behind its columns.

        Raises OutputError: the file exists and ``force`` is not given, or it cannot be written.
        """
        more = {
            "theory": [_text(row.theory) for row in self.rows],
            "theory_error": [_text(row.theory_error) for row in self.rows],
            "z": [_text(row.z) for row in self.rows],
            "limit": [_text(row.limit) for row in self.rows],
            "agrees": [{True: "yes", False: "NO", None: ""}[row.agrees] for row in self.rows],
            "smallest_detectable_bias": [_text(row.smallest_detectable_bias) for row in self.rows],
            "unseen": [_text(row.unseen) for row in self.rows],
            "left_out": [row.left_out for row in self.rows],
        }
        self.table.write(path, more, force=force)


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
