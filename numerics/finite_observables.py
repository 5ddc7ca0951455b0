"""Errors and thermodynamics at finite dimension, from the order parameters: common to all finite-size theories."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.sizes import divisor
from iclglass.numerics.token_law import correlated_moments

__all__ = ["by_law", "log_units", "observables"]

Array = NDArray[np.float64]


def by_law(flat: Mapping[str, Array], *names: str) -> Iterator[tuple[list[float], NDArray[np.intp]]]:
    """The different values of these parameters, and which points have them.

    >>> [(law, points.tolist()) for law, points in by_law({"dimension": np.array([8.0, 9.0, 8.0])}, "dimension")]
    [([8.0], [0, 2]), ([9.0], [1])]
    """
    laws, group = np.unique(np.stack([flat[name] for name in names]), axis=1, return_inverse=True)
    for index, law in enumerate(laws.T):
        yield law.tolist(), np.flatnonzero(group.reshape(-1) == index)


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


def observables(
    e_train: Array,
    m: Array,
    q: Array,
    last_row: Array,
    g: Array,
    log_determinant: Array,
    flat: Mapping[str, Array],
    norm: str,
    last_scale: float,
) -> dict[str, Array]:
    """Errors on new prompts by the exact moments of one prompt, and what depends on temperature.

    Parameters
    ----------
    e_train, m, q, last_row : (points,); |W|^2/D is q + last_row/D.
    g : responses of block and last row, (points, 2), or (points, 1) without last row; infinite with flat directions.
    log_determinant : of the Hessian over W; minus infinity with flat directions.
    flat : the parameters, flat; token_correlation among them where tokens have one.
    last_scale : by which the mean squared label is multiplied, `numerics.last_row.LastRow.scale`.
    """
    size, temperature = flat["dimension"], flat["temperature"]

    def error(context: Array) -> tuple[Array, Array]:
        law = (size, context, divisor(context, norm), flat["label_noise"])
        moments: tuple[Array, ...]
        if "token_correlation" in flat:
            moments = correlated_moments(*law, flat["token_correlation"])
        else:
            moments = generated_numpy.feature_moments(*law)
        label, signal, block, last = moments
        last = last * last_scale**2
        response = np.sum([moment * g[:, k] / size for k, moment in enumerate((block, last)[: g.shape[1]])], axis=0)
        return label - 2 * signal * m + block * q + last * last_row, response

    (e_icl, response), (e_idg, _) = error(flat["test_context_length"]), error(flat["context_length"])
    spins = size * (size + (last_scale > 0)) / size**2
    with np.errstate(divide="ignore"):
        volume = spins * np.log(2 * np.pi * temperature / size**2)
    volume += (2 * log_units(size, last_scale) - log_determinant) / size**2
    ground_state, chi = (e_train + flat["ridge"] * (q + last_row / size)) / 2, g[:, 0] / size
    state = (ground_state, q, chi, e_icl, response, volume, spins, temperature)
    with np.errstate(invalid="ignore"):
        thermal = generated_numpy.thermodynamics(*state)
    named = dict(zip(generated_numpy.OUTPUTS["thermodynamics"], thermal, strict=True))
    return {
        "e_train": e_train,
        "m": m,
        "q": q,
        "last_row": last_row,
        "chi": chi,
        "e_icl": e_icl,
        "e_idg": e_idg,
        **named,
    }
