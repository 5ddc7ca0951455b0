"""Models other than ridge regression in the validation suite: points fixed beforehand, against their own theory."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from iclglass.numerics.parameters import PARAMETERS, STRENGTHS
from iclglass.validation.agreement import Agreement
from iclglass.validation.crosscheck import compare
from iclglass.validation.simulation import FiniteSizeSamples, Simulation

__all__ = [
    "MODEL_DIMENSIONS",
    "ComparedModel",
    "ModelPoint",
    "compare_models",
    "model_points",
    "model_simulations",
]

MODEL_DIMENSIONS = (8, 12, 16, 24)
"""Of both scales: a data set is minimised or sampled, which takes longer than to solve it exactly."""


@dataclass(frozen=True, eq=False)
class ModelPoint:
    """A model at one point: what it is called, and fields of `Parameters`."""

    name: str
    given: Mapping[str, float | str]

    @property
    def label(self) -> str:
        """Name and numbers in a line."""
        letters = {name: parameter.letter for name, parameter in (PARAMETERS | STRENGTHS).items()}
        numbers = [f"{letters[name]} {value:g}" for name, value in self.given.items() if not isinstance(value, str)]
        return f"{self.name}: {', '.join(numbers)}"

    @property
    def file(self) -> str:
        """Name of the file that keeps its data sets."""
        return f"{self.name.replace(' ', '-')}.checkpoint"


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """A model, and its theory at D -> infinity against the extrapolation of its simulation."""

    point: ModelPoint
    agreement: Agreement


@cache
def model_points() -> tuple[ModelPoint, ...]:
    """All models, in the order of models.csv; what is empty there has its default.

    Examples
    --------
    >>> [point.label for point in model_points()][:2]
    ['lasso: tau 3, alpha 2, lam 0, l1 0.3', 'elastic net: tau 3, alpha 2, lam 0.1, l1 0.1']
    """
    text = resources.files("iclglass.validation.suite").joinpath("models.csv").read_text(encoding="utf-8")
    numbers = {*PARAMETERS, *STRENGTHS}
    return tuple(
        ModelPoint(
            row.pop("name"), {name: float(cell) if name in numbers else cell for name, cell in row.items() if cell}
        )
        for row in csv.DictReader(text.splitlines())
    )


def model_simulations(chosen: Sequence[ModelPoint], *, samples: int, first_seed: int) -> list[Simulation]:
    """What is simulated of each model; every one has its own seed."""
    sizes = {"dimensions": MODEL_DIMENSIONS, "samples": samples}
    return [Simulation.of(None, point.given, **sizes, seed=first_seed + number) for number, point in enumerate(chosen)]


def compare_models(
    chosen: Sequence[ModelPoint],
    samples: Sequence[FiniteSizeSamples],
    *,
    false_alarm: float,
    largest_unseen_bias: float,
) -> tuple[ComparedModel, ...]:
    """Each model against its data sets; false_alarm: of all models and quantities together."""
    return tuple(
        ComparedModel(
            point,
            compare(found, false_alarm=false_alarm / len(chosen), largest_unseen_bias=largest_unseen_bias),
        )
        for point, found in zip(chosen, samples, strict=True)
    )
