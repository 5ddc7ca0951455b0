"""Free energy, energy and entropy mean the same in `solve`, of one data set, and in the simulation."""

import numpy as np
import pytest

import iclglass
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.validation.observables import measure
from iclglass.validation.samplers.law import boltzmann_law
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.test_finite_size_theory import excess

FALSE_ALARM = 1e-4
TEMPERATURE = 0.5


@pytest.mark.parametrize("dimension", [8, 14])
def test_mean_over_data_sets_is_the_theory_at_their_size(dimension):
    """The same with ln Z over W instead of sqrt(D) W and D W_last is off by more than a hundred standard errors."""
    context, prompts, ridge, samples = 2 * dimension, 2 * dimension**2, 0.1, 60
    free = []
    for index in range(samples):
        rng = np.random.default_rng([12, dimension, index])
        data = iclglass.draw_prompts(dimension=dimension, context=context, prompts=prompts, label_noise=0.2, rng=rng)
        options = {"ridge0": ridge / dimension, "beta": dimension**2 / TEMPERATURE, "method": "exact"}
        free.append(iclglass.solve_instance(data, **options).free_energy)
    theory = iclglass.solve(
        task_diversity=2, context_length=2, label_noise=0.2, ridge=ridge, temperature=TEMPERATURE, dimension=dimension
    )
    row = np.array([np.mean(free), np.std(free, ddof=1) / np.sqrt(samples)])
    assert excess("free_energy", row, float(theory.free_energy), dimension) < bonferroni_threshold(FALSE_ALARM, 2)
    shift = TEMPERATURE / dimension**2 * (dimension**2 / 2 + dimension) * np.log(dimension)
    assert excess("free_energy", row, float(theory.free_energy) + shift, dimension) > 100


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
