"""Free energy, energy and entropy mean the same of one data set, in the samplers, and in the simulation.

That they are those of the theory, test_finite_size_theory shows of the simulation.
"""

import numpy as np
import pytest

import iclglass
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.validation.observables import measure
from iclglass.validation.samplers.law import boltzmann_law


def integral(data: Instance, ridge0: float, beta: float) -> float:
    """ln of the integral of exp(-beta H) over sqrt(D) W and D W_last at D = 2: a sum over a grid in six dimensions."""
    units = np.array([np.sqrt(2)] * 4 + [2.0] * 2)
    features = np.einsum("pi,pj->pij", data.context, data.query).reshape(-1, 6)
    mean_square = np.mean(features**2, axis=0)
    steps = units / np.sqrt(beta * (mean_square + ridge0))  # a width each: a sum over a Gaussian is exact to 1e-8
    values = [step * np.arange(-5, 6) for step in steps]
    rest = np.stack(np.meshgrid(*values[1:], indexing="ij"), axis=-1).reshape(-1, 5)
    total = 0.0
    for first in values[0]:
        weights = np.column_stack([np.full(len(rest), first), rest]) / units
        loss = sum((label - weights @ s) ** 2 for s, label in zip(features, data.label, strict=True)) / data.prompts
        total += np.exp(-beta / 2 * (loss + ridge0 * np.sum(weights**2, axis=1))).sum()
    return float(np.log(total * np.prod(steps)))


def test_one_data_set_by_brute_force():
    rng = np.random.default_rng(4)
    data = Instance(*(0.5 * rng.normal(size=shape) for shape in ((3, 3), (3, 2), (3,))))
    ridge0, beta = 1.0, 1.5
    summed = integral(data, ridge0, beta)
    for method, error in (("exact", 1e-6), ("tap", 1e-3), ("gamp", 1e-2)):  # the last two approximate ln Z
        solution = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method=method)
        assert solution.log_partition == pytest.approx(summed - 4 * np.log(2), abs=error)  # sqrt(2)^4 2^2
        assert solution.free_energy == pytest.approx(-summed / beta, abs=error / beta)


def test_simulation_samplers_and_one_data_set_say_the_same():
    data = iclglass.draw_prompts(dimension=6, context=9, prompts=60, label_noise=0.3, rng=np.random.default_rng(1))
    ridge0, beta = 0.1, 50.0
    simulated = measure(data, ridge=6 * ridge0, temperature=36 / beta)
    solution = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method="exact")
    law = boltzmann_law(data, ridge0=ridge0, beta=beta)
    assert solution.free_energy == pytest.approx(simulated.free_energy, rel=1e-11)
    assert law.energy == pytest.approx(simulated.energy, rel=1e-11)
    # entropy: of sqrt(D) W and D W_last over D^2, here from the eigenvalues of the covariance
    widths = np.linalg.eigvalsh(boltzmann(data, ridge0=ridge0, beta=beta).covariance)
    entropy = (np.sum(np.log(2 * np.pi * np.e * widths)) / 2 + 36 / 2 * np.log(6) + 6 * np.log(6)) / 36
    assert simulated.entropy == pytest.approx(entropy, rel=1e-10)
