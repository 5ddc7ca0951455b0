"""Errors and thermodynamics at finite dimension, from the order parameters: common to all finite-size theories."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics import generated_numpy

__all__ = ["errors_on_new_tasks", "log_units", "thermodynamics"]

Array = NDArray[np.float64]


def errors_on_new_tasks(
    m: Array, q: Array, last_row: Array, g: Array, flat: Mapping[str, Array], norm: str
) -> dict[str, Array]:
    """e_icl, e_icl_gibbs and e_idg by the exact moments of one prompt."""
    size, temperature = flat["dimension"], flat["temperature"]

    def error(context: Array) -> tuple[Array, Array]:
        divisor = context if norm == "N" else context + 1
        moments = generated_numpy.feature_moments(size, context, divisor, flat["label_noise"])
        label, signal, block, last = moments
        spread = temperature * (block * g[:, 0] / size + last * g[:, 1] / size)
        return label - 2 * signal * m + block * q + last * last_row, spread

    e_icl, spread = error(flat["test_context_length"])
    e_idg, _ = error(flat["context_length"])
    return {"e_icl": e_icl, "e_idg": e_idg, "e_icl_gibbs": np.where(temperature == 0, e_icl, e_icl + spread)}


def log_units(dimension: ArrayLike) -> Array:
    """ln of the volume in which all free energies are measured, over dW: sqrt(D) W on the block, D W in the last row.

    (D^2/2 + D) ln D: the theory's measure of ln Z at D -> infinity, on the D^2 spins it has (`validation.observables`
    says why the last row differs).

    >>> round(float(log_units(2) / np.log(2)), 12)
    4.0
    """
    size = np.asarray(dimension, dtype=np.float64)
    return np.asarray((size**2 / 2 + size) * np.log(size))


def thermodynamics(
    e_train: Array, norm_square: Array, log_determinant: Array, flat: Mapping[str, Array]
) -> dict[str, Array]:
    """energy <H>, free_energy -(T/D^2) ln Z and entropy, their difference over T; norm_square is |W|^2/D."""
    size, temperature = flat["dimension"], flat["temperature"]
    spins = size * (size + 1)
    ground_state = (e_train + flat["ridge"] * norm_square) / 2
    cold = temperature == 0
    energy = ground_state + spins * temperature / (2 * size**2)
    volume = spins * np.log(2 * np.pi * np.where(cold, 1.0, temperature) / size**2) - log_determinant
    free_energy = ground_state - temperature / (2 * size**2) * (volume + 2 * log_units(size))
    return {
        "energy": energy,
        "free_energy": np.where(cold, ground_state, free_energy),
        "entropy": np.where(cold, np.nan, (energy - free_energy) / temperature),
    }
