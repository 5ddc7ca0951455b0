r"""Which layer at finite D: the size of the last feature, the mean squared label, or no row of weights for it.

Linear attention sees a context as u_m = (1/norm) sum_k y_k x_{k,m}, m <= D, and u_{D+1} = (s/norm) sum_k y_k^2:

    unit-tokens    s = 1            tokens of variance 1 and labels w.x/sqrt(D): SG
    scaled-tokens  s = 1/sqrt(D)    tokens of variance 1/D and labels w.x of order one: LU
    no last row    s = 0            u has D components, W is D x D

Source: this project, notes/last_feature.md. At D -> infinity the three are one theory.
"""

import math
from dataclasses import dataclass
from typing import Any

from iclglass.numerics.arguments import check_choice, check_flag
from iclglass.numerics.errors import ParameterError

__all__ = ["LAST_FEATURES", "UNIT_TOKENS", "LastRow", "refuse_without_dimension"]

LAST_FEATURES = ("unit-tokens", "scaled-tokens")


@dataclass(frozen=True)
class LastRow:
    """The weights of the mean squared label, and the size of that feature.

    last_feature : one of `LAST_FEATURES`.
    last_row : False: there are no such weights, and no last feature.

    Raises ParameterError, ParameterTypeError: another value; a size given for the feature of a row that is left out.

    >>> LastRow("scaled-tokens").scale(16), LastRow("scaled-tokens").rows(16), LastRow(last_row=False).rows(16)
    (0.25, 17, 16)
    """

    last_feature: str = LAST_FEATURES[0]
    last_row: bool = True

    def __post_init__(self) -> None:
        check_choice("last_feature", self.last_feature, LAST_FEATURES)
        object.__setattr__(self, "last_row", check_flag("last_row", self.last_row))
        if not self.last_row and self.last_feature != LAST_FEATURES[0]:
            raise ParameterError(
                f"last_feature = {self.last_feature!r} with last_row = False: a layer without the last row has no last "
                "feature; leave one of the two out"
            )

    @property
    def is_default(self) -> bool:
        """Whether this is SG's layer."""
        return self == UNIT_TOKENS

    def scale(self, dimension: int) -> float:
        """s, by which the mean squared label is multiplied: 1, 1/sqrt(D), or 0 without last row."""
        if not self.last_row:
            return 0.0
        return 1.0 if self.last_feature == LAST_FEATURES[0] else 1 / math.sqrt(dimension)

    def rows(self, dimension: int) -> int:
        """Rows of W and components of u: D + 1, or D."""
        return dimension + self.last_row

    def to_dict(self) -> dict[str, Any]:
        """The two choices by name, as results report them."""
        return {"last_feature": self.last_feature, "last_row": self.last_row}


UNIT_TOKENS = LastRow()
"""SG's layer, the default everywhere."""


def refuse_without_dimension(layer: LastRow) -> None:
    """Refuse a layer other than SG's where D -> infinity.

    Raises ParameterError: the sentence says what to give.
    """
    if not layer.is_default:
        option = f"last_feature = {layer.last_feature!r}" if layer.last_row else "last_row = False"
        raise ParameterError(
            f"{option} has no meaning at D -> infinity, where the last row changes nothing: give a dimension, or leave "
            "it out"
        )
