"""Errors and thermodynamics at finite dimension, from the order parameters: common to all finite-size theories."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.sizes import divisor

__all__ = ["by_law", "errors_on_new_tasks", "log_units", "thermodynamics"]

Array = NDArray[np.float64]


def by_law(flat: Mapping[str, Array], *names: str) -> Iterator[tuple[list[float], NDArray[np.intp]]]:
    """The different values of these parameters, and which points have them.

    >>> [(law, points.tolist()) for law, points in by_law({"dimension": np.array([8.0, 9.0, 8.0])}, "dimension")]
    [([8.0], [0, 2]), ([9.0], [1])]
    """
    laws, group = np.unique(np.stack([flat[name] for name in names]), axis=1, return_inverse=True)
    for index, law in enumerate(laws.T):
        yield law.tolist(), np.flatnonzero(group.reshape(-1) == index)


def errors_on_new_tasks(
    m: Array, q: Array, last_row: Array, g: Array, flat: Mapping[str, Array], norm: str, last_scale: float
) -> dict[str, Array]:
    """e_icl, e_icl_gibbs and e_idg by the exact moments of one prompt; g: (points, 2), or (points, 1) without last row.

    last_scale: by which the mean squared label is multiplied, `numerics.last_row.LastRow.scale`.
    """
    size, temperature = flat["dimension"], flat["temperature"]

    def error(context: Array) -> tuple[Array, Array]:
        moments = generated_numpy.feature_moments(size, context, divisor(context, norm), flat["label_noise"])
        label, signal, block, last = moments
        last = last * last_scale**2
        spread = temperature * sum(moment * g[:, k] / size for k, moment in enumerate((block, last)[: g.shape[1]]))
        return label - 2 * signal * m + block * q + last * last_row, spread

    e_icl, spread = error(flat["test_context_length"])
    e_idg, _ = error(flat["context_length"])
    return {"e_icl": e_icl, "e_idg": e_idg, "e_icl_gibbs": np.where(temperature == 0, e_icl, e_icl + spread)}


def log_units(dimension: ArrayLike, last_scale: float) -> Array:
    """ln of the volume in which all free energies are measured, over dW: sqrt(D) W on the block, D s W in the last row.

    (D^2/2) ln D + D ln(D s), s = ``last_scale`` (`numerics.last_row.LastRow.scale`), the last term only where there is
    a last row: the theory's measure of ln Z at D -> infinity, on the D^2 spins it has (`validation.observables` says
    why the last row differs).

    >>> round(float(log_units(2, 1.0) / np.log(2)), 12), round(float(log_units(2, 0.0) / np.log(2)), 12)
    (4.0, 2.0)
    """
    size = np.asarray(dimension, dtype=np.float64)
    last = size * np.log(size * last_scale) if last_scale > 0 else 0.0
    return np.asarray(size**2 / 2 * np.log(size) + last)


def thermodynamics(
    e_train: Array, norm_square: Array, log_determinant: Array, flat: Mapping[str, Array], last_scale: float
) -> dict[str, Array]:
    """energy <H>, free_energy -(T/D^2) ln Z and entropy, their difference over T; norm_square is |W|^2/D."""
    size, temperature = flat["dimension"], flat["temperature"]
    last_row = last_scale > 0
    spins = size * (size + last_row)
    ground_state = (e_train + flat["ridge"] * norm_square) / 2
    cold = temperature == 0
    energy = ground_state + spins * temperature / (2 * size**2)
    volume = spins * np.log(2 * np.pi * np.where(cold, 1.0, temperature) / size**2) - log_determinant
    units = 2 * log_units(size, last_scale)
    free_energy = ground_state - temperature / (2 * size**2) * (volume + units)
    return {
        "energy": energy,
        "free_energy": np.where(cold, ground_state, free_energy),
        "entropy": np.where(cold, np.nan, (energy - free_energy) / temperature),
    }
