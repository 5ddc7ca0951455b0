"""Errors and thermodynamics at finite dimension, from the order parameters: common to all finite-size theories."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy

__all__ = ["errors_on_new_tasks", "thermodynamics"]

Array = NDArray[np.float64]


def errors_on_new_tasks(
    m: Array, q: Array, last_row: Array, g: Array, flat: Mapping[str, Array], norm: str, last_scale: float = 1.0
) -> dict[str, Array]:
    """e_icl, e_icl_gibbs and e_idg by the exact moments of one prompt; g: (points, 2), or (points, 1) without last row.

    last_scale: by which the mean squared label is multiplied, `numerics.last_row.LastRow.scale`.
    """
    size, temperature = flat["dimension"], flat["temperature"]

    def error(context: Array) -> tuple[Array, Array]:
        divisor = context if norm == "N" else context + 1
        moments = generated_numpy.feature_moments(size, context, divisor, flat["label_noise"])
        label, signal, block, last = moments
        last = last * last_scale**2
        spread = temperature * sum(moment * g[:, k] / size for k, moment in enumerate((block, last)[: g.shape[1]]))
        return label - 2 * signal * m + block * q + last * last_row, spread

    e_icl, spread = error(flat["test_context_length"])
    e_idg, _ = error(flat["context_length"])
    return {"e_icl": e_icl, "e_idg": e_idg, "e_icl_gibbs": np.where(temperature == 0, e_icl, e_icl + spread)}


def thermodynamics(
    e_train: Array, norm_square: Array, log_determinant: Array, flat: Mapping[str, Array], last_scale: float = 1.0
) -> dict[str, Array]:
    """energy, free_energy, entropy in the measure of `validation.observables`; norm_square is |W|^2/D."""
    size, temperature = flat["dimension"], flat["temperature"]
    last_row = last_scale > 0
    spins = size * (size + last_row)
    ground_state = (e_train + flat["ridge"] * norm_square) / 2
    cold = temperature == 0
    energy = ground_state + spins * temperature / (2 * size**2)
    volume = spins * np.log(2 * np.pi * np.where(cold, 1.0, temperature) / size**2) - log_determinant
    # sqrt(D) W on the block, D s W in the last row, s = last_scale
    units = (size**2 + 2 * size * last_row) * np.log(size)
    if last_row:
        units += 2 * size * np.log(last_scale)
    free_energy = ground_state - temperature / (2 * size**2) * (volume + units)
    return {
        "energy": energy,
        "free_energy": np.where(cold, ground_state, free_energy),
        "entropy": np.where(cold, np.nan, (energy - free_energy) / temperature),
    }
