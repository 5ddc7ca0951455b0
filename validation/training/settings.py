"""What a run of training is asked for, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import LARGEST, MOST, check_choice, check_count, check_real, doubles
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.data import Instance
from iclglass.validation.population import PromptMoments
from iclglass.validation.training.layer import PARAMETRISATIONS, Matrices
from iclglass.validation.training.optimisers import OPTIMISERS

__all__ = ["Settings", "Test", "arrays_of", "check_test", "given_start", "make_settings"]

FloatArray = NDArray[np.float64]
Test = Instance | PromptMoments

_RECORDS = 60


@dataclass(frozen=True)
class Settings:
    """What a run follows from, beside its arrays; a resumed run must have the same."""

    parametrisation: str
    optimiser: str
    steps: int
    learning_rate: float
    ridge0: float
    batch: int | None
    tolerance: float | None
    record: list[int]
    backend: str


def make_settings(
    *,
    prompts: int,
    parametrisation: str,
    optimiser: str,
    steps: int,
    learning_rate: float,
    ridge0: float,
    batch: int | None,
    tolerance: float | None,
    record: Iterable[int] | None,
    backend: str,
) -> Settings:
    """The arguments of `train`, checked; ParameterError or ParameterTypeError for a bad one."""
    return Settings(
        parametrisation=check_choice("parametrisation", parametrisation, PARAMETRISATIONS),
        optimiser=check_choice("optimiser", optimiser, OPTIMISERS),
        steps=check_count("steps", steps, minimum=1, maximum=MOST),
        learning_rate=check_real("learning_rate", learning_rate, minimum=0.0, above=True),
        ridge0=check_real("ridge0", ridge0, minimum=0.0, maximum=LARGEST),
        batch=_batch(batch, optimiser, prompts),
        tolerance=None if tolerance is None else check_real("tolerance", tolerance, minimum=0.0, above=True),
        record=_steps_to_record(record, steps),
        backend=check_choice("backend", backend, ("numpy", "torch")),
    )


def _batch(batch: int | None, optimiser: str, prompts: int) -> int | None:
    if batch is None:
        if optimiser == "sgd":
            raise ParameterError("optimiser 'sgd' needs batch, the number of prompts at a step; 'gd' takes all of them")
        return None
    if optimiser == "gd":
        raise ParameterError(f"optimiser 'gd' takes all prompts at every step: leave batch = {batch} out, or use 'sgd'")
    count = check_count("batch", batch, minimum=1)
    if count > prompts:
        raise ParameterError(f"batch must be at most the number of prompts, {prompts}, got {count}")
    return count


def _steps_to_record(record: Iterable[int] | None, steps: int) -> list[int]:
    if record is None:
        return sorted({0, *np.rint(np.geomspace(1, steps, _RECORDS)).astype(int).tolist()})
    if isinstance(record, (str, bytes, Mapping)) or not isinstance(record, Iterable):
        raise ParameterTypeError(f"record must hold numbers of steps, got {type(record).__name__}")
    found = {check_count("record", step, minimum=0) for step in record}
    if found and max(found) > steps:
        raise ParameterError(f"record holds step {max(found)}, beyond the last one, steps = {steps}")
    return sorted({0, *found, steps})


def given_start(start: Sequence[FloatArray], wanted: tuple[tuple[int, int], ...]) -> Matrices:
    """The matrices to start from, checked against the shapes wanted."""
    if not isinstance(start, (Sequence, np.ndarray)):
        raise ParameterTypeError(f"start must be a sequence of matrices, got {type(start).__name__}")
    matrices = tuple(doubles("start", matrix) for matrix in start)
    found = tuple(matrix.shape for matrix in matrices)
    if found != wanted:
        raise ParameterError(f"start must hold matrices of shapes {wanted}, got {found}")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise ParameterError("start must be finite")
    return matrices


def check_test(test: Test | None, shape: tuple[int, int]) -> None:
    """Refuse what is no test of weights of a shape."""
    if test is None:
        return
    if not isinstance(test, (Instance, PromptMoments)):
        raise ParameterTypeError(f"test must be an Instance or PromptMoments, got {type(test).__name__}")
    found = test.features.weight_shape if isinstance(test, Instance) else test.signal.shape
    if found != shape:
        raise ParameterError(
            f"test prompts have dimension {found[1]}, the training prompts {shape[1]}; and {found[0]} rows of weights, "
            f"the training prompts {shape[0]}: draw both for one dimension and layer"
        )


def arrays_of(test: Test) -> tuple[FloatArray, ...]:
    """All that a test follows from."""
    if isinstance(test, Instance):
        return test.context, test.query, test.label
    return np.array(test.label), test.signal, test.second
