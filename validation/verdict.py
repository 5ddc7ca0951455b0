"""Three verdicts: agree, disagree, inconclusive. A check that could not have seen an error does not pass.

A verdict is True, False or None, as `passed` in JSON. A comparison

    disagrees         if it is refused, beyond its limit, whatever its power: the limit holds the false-alarm rate
    is inconclusive   if it is not, but a bias of a stated share of the value could have hidden in it
    agrees            if it is not, and the smallest bias that would have been seen is at most that share

and several together disagree if one does, else are inconclusive if one is, else agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from iclglass.numerics.arguments import check_real

__all__ = ["LARGEST_UNSEEN_BIAS", "check_largest_unseen_bias", "combined", "judged", "percent", "word"]

LARGEST_UNSEEN_BIAS = 0.25
"""Largest relative bias that may stay unseen where theory and simulation are said to agree, by default."""


def check_largest_unseen_bias(value: object) -> float:
    """A share > 0; ParameterError or ParameterTypeError otherwise.

    >>> check_largest_unseen_bias(0.1)
    0.1
    """
    return check_real("largest_unseen_bias", value, minimum=0.0, above=True)


def judged(*, refused: bool, unseen: float, largest: float = LARGEST_UNSEEN_BIAS) -> bool | None:
    """The verdict on one comparison. unseen: smallest relative bias that would have been seen; NaN if unknown.

    >>> [judged(refused=False, unseen=share) for share in (0.1, 0.3)], judged(refused=True, unseen=0.3)
    ([True, None], False)
    """
    if refused:
        return False
    return True if unseen <= largest else None


def combined(verdicts: Iterable[bool | None]) -> bool | None:
    """The verdict on several comparisons together; None for none at all.

    >>> combined([True, None]), combined([True, None, False]), combined([True]), combined([])
    (None, False, True, None)
    """
    found = set(verdicts)
    if False in found:
        return False
    return True if found == {True} else None


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0.0123), percent(0.25), percent(3.0), percent(20), percent(math.nan)
    ('1.2 %', '25 %', '300 %', 'over 1000 %', 'unknown')
    """
    if math.isnan(share):
        return "unknown"
    if share > 10:
        return "over 1000 %"
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def word(verdict: bool | None) -> str:
    """PASS, FAIL or INCONCLUSIVE.

    >>> word(None)
    'INCONCLUSIVE'
    """
    return {True: "PASS", False: "FAIL", None: "INCONCLUSIVE"}[verdict]
