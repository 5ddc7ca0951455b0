"""Descent written out with dense matrices: what training and the exact flow are compared with."""

import numpy as np

from iclglass.numerics.instance.spin_glass import hessian

__all__ = ["euler"]


def euler(data, ridge0, *, time, steps, start):
    """Weights after explicit Euler steps W <- W - (D time/steps) (A W - h)."""
    matrix = hessian(data) + ridge0 * np.eye(data.spins)
    fields = data.features.adjoint(data.label).ravel() / data.prompts
    weights = start.ravel()
    for _ in range(steps):
        weights = weights - data.dimension * time / steps * (matrix @ weights - fields)
    return weights.reshape(start.shape)
