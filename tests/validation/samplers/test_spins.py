"""Any spins at a temperature: one against sums over a grid, all against enumeration, one chain against another."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import logsumexp

from iclglass.numerics.arguments import FloatArray
from iclglass.numerics.errors import ParameterError
from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.samplers.one_spin import Lattice, Levels, OneSpin, Pieces, Walk, elastic_net
from iclglass.validation.samplers.spins import Spins, sample_spins

Loss = Callable[[FloatArray, FloatArray], FloatArray]

RIDGE = Pieces(elastic_net(ridge=0.1))
HUBER = Pieces(np.array([[-np.inf, -1.0, -0.5, -1.0, 0.0], [-1.0, 1.0, 0.0, 0.0, 0.5], [1.0, np.inf, -0.5, 1.0, 0.0]]))
BINARY = Levels(np.array([-1.0, 1.0]), np.zeros(2))
TERNARY = Levels(np.array([-0.8, 0.0, 0.8]), np.array([0.3, 0.0, 0.3]))

LAWS: dict[str, tuple[OneSpin, FloatArray]] = {
    "Gaussian": (RIDGE, np.linspace(-15, 15, 60001)),
    "elastic net": (Pieces(elastic_net(l1=0.7, ridge=0.2)), np.linspace(-15, 15, 60001)),
    "half line": (Pieces(elastic_net(l1=0.7, positive=True)), np.linspace(0, 15, 60001)),
    "Huber": (HUBER, np.linspace(-15, 15, 60001)),
    "ternary": (TERNARY, TERNARY.levels),
    "integer": (Lattice(0.5, lambda spin: 0.3 * np.abs(spin)), 0.5 * np.arange(-30, 31)),
    "walk": (Walk(lambda spin: spin**4 / 4, low=-1.0), np.linspace(-1, 15, 60001)),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("field", [0.0, -2.5, 6.0])
def test_one_spin_has_the_moments_of_its_law(name: str, field: float) -> None:
    """By sums over a grid, in units of the standard errors of the draws."""
    law, grid = LAWS[name]
    curvature, temperature = 1.3, 0.6
    energy = law.penalty(grid) + curvature * grid**2 / 2 - field * grid
    weight = np.exp(-(energy - np.min(energy)) / temperature)
    if law is not TERNARY and not isinstance(law, Lattice):
        weight[[0, -1]] /= 2
    rng = np.random.default_rng(1)
    spins = np.full(40_000, 0.5) if isinstance(law, Walk) else np.zeros(40_000)
    for _ in range(60 if isinstance(law, Walk) else 1):
        uniform = rng.random((2, spins.size))
        spins = law.draw(np.full(spins.size, curvature), np.full(spins.size, field), temperature, spins, uniform)
    for power in (1, 2):
        mean = np.average(grid**power, weights=weight)
        error = np.sqrt(np.average((grid**power - mean) ** 2, weights=weight) / spins.size)
        assert abs(np.mean(spins**power) - mean) < 4.5 * error + 1e-6


def test_a_deep_tail_keeps_its_digits() -> None:
    """A half line thirty standard deviations from the Gaussian's mean is an exponential of rate |h|/T."""
    law, rng = Pieces(elastic_net(positive=True)), np.random.default_rng(1)
    count = 40_000
    spins = law.draw(np.ones(count), np.full(count, -30.0), 1.0, np.zeros(count), rng.random((2, count)))
    assert np.mean(spins) == pytest.approx(1 / 30, rel=0.02)
    assert np.min(spins) > 0


def _data(dimension: int, count: int = 1, *, context: int = 12, prompts: int = 24) -> list[Prompts]:
    return [
        draw_prompts(dimension=dimension, context=context, prompts=prompts, rng=np.random.default_rng((5, index)))
        for index in range(count)
    ]


def _loss(prompts: Prompts, weights: FloatArray, function: Loss) -> FloatArray:
    """Of many W at once, from dense features."""
    return np.mean(function(prompts.label, weights @ prompts.features.dense().T), axis=1)


def _squared(label: FloatArray, prediction: FloatArray) -> FloatArray:
    return (label - prediction) ** 2 / 2


def _logistic(label: FloatArray, prediction: FloatArray) -> FloatArray:
    return np.logaddexp(0.0, -label * prediction)


@pytest.mark.parametrize(("loss", "law"), [(None, BINARY), (_logistic, BINARY), (None, TERNARY)])
def test_twelve_spins_against_full_enumeration(loss: Loss | None, law: Levels) -> None:
    """D = 3 with last row, every spin discrete: 2^12 or 3^12 states; mean weights, energy, loss, both chains."""
    (data,) = _data(3)
    temperature = 2.0
    spins = Spins(law, law, law)
    states = np.array(list(itertools.product(law.levels, repeat=12)))
    found = [_loss(data, part / 3**0.5, loss or _squared) for part in np.array_split(states, 100)]
    losses = np.concatenate(found)
    energies = losses + law.penalty(states).sum(axis=1) / 9
    weight = np.exp(-9 * energies / temperature - logsumexp(-9 * energies / temperature))
    draws = sample_spins(
        [data],
        spins,
        temperature=temperature,
        chains=40,
        sweeps=200,
        warmup=20,
        rngs=[np.random.default_rng(3)],
        loss=loss,
    )
    from arviz_stats.base import array_stats

    ess = float(array_stats.ess(draws.observables["energy"][0]))
    for name, values in (("energy", energies), ("loss", losses)):
        mean = weight @ values
        error = np.sqrt(weight @ (values - mean) ** 2 / ess)
        assert abs(draws.mean(name)[0] - mean) < 4 * error
    mean = weight @ states / np.sqrt(3)
    assert np.max(np.abs(draws.means[0].mean(axis=0).ravel() - mean)) < 4.5 / np.sqrt(3 * ess)
    assert draws.r_hat("energy")[0] < 1.02


def test_gaussian_spins_have_the_mean_of_the_linear_equations() -> None:
    """Without levels the measure is Gaussian: m, energy and overlap of replicas by exact linear algebra."""
    from iclglass.validation.observables import measure

    data = _data(6, 8, prompts=60)
    spins = Spins(RIDGE, RIDGE, RIDGE)
    rngs = [np.random.default_rng((7, index)) for index in range(8)]
    draws = sample_spins(data, spins, temperature=0.7, sweeps=600, warmup=50, rngs=rngs)
    exact = [measure(each, ridge=0.1, temperature=0.7) for each in data]
    found = {"energy": draws.mean("energy"), "m": draws.mean("m"), "q_self": draws.mean("q_self")}
    found["q"] = draws.overlap.mean(axis=1)
    for name, values in found.items():
        difference = values - [getattr(each, name) for each in exact]
        assert abs(difference.mean()) < 4 * difference.std(ddof=1) / np.sqrt(8), name
    assert abs(draws.gap("energy")) < 4


def test_metropolis_and_heat_bath_agree_on_non_negative_spins() -> None:
    """The same squared error, once by exact conditionals and once by proposals."""
    data = _data(4, 6)
    law = Pieces(elastic_net(l1=0.5, positive=True))
    spins, means = Spins(law, law, law), []
    for loss in (None, _squared):
        rngs = [np.random.default_rng((8, index)) for index in range(6)]
        draws = sample_spins(data, spins, temperature=0.5, sweeps=250, warmup=50, rngs=rngs, loss=loss, chains=8)
        assert np.min(draws.means) > 0
        means.append([draws.mean("energy"), draws.mean("m"), draws.mean("q_self")])
    difference = np.subtract(*means)
    assert np.all(np.abs(difference.mean(axis=1)) < 4 * difference.std(axis=1, ddof=1) / np.sqrt(6))


def test_a_data_set_draws_the_same_alone_and_in_company() -> None:
    """Each has its own numbers, in the same order."""
    data = _data(4, 3)
    spins = Spins(RIDGE, TERNARY, RIDGE)

    def run(which: list[int]) -> FloatArray:
        rngs = [np.random.default_rng((9, index)) for index in which]
        chosen = [data[index] for index in which]
        return sample_spins(chosen, spins, temperature=0.5, sweeps=20, warmup=5, rngs=rngs, keep=2).weights[-1]

    np.testing.assert_allclose(run([2]), run([0, 1, 2]), rtol=1e-9, atol=1e-12)


def test_no_temperature_and_different_shapes_are_refused() -> None:
    """In words."""
    spins, rng = Spins(RIDGE, BINARY, RIDGE), np.random.default_rng(1)
    with pytest.raises(ParameterError, match="temperature must be positive"):
        sample_spins(_data(3), spins, temperature=0.0, sweeps=1, warmup=0, rngs=[rng])
    with pytest.raises(ParameterError, match="one shape"):
        sample_spins(_data(3) + _data(4), spins, temperature=1.0, sweeps=1, warmup=0, rngs=[rng, rng])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "m", "energy"), [(1.0, (0.743, 0.009), (0.3927, 0.0028)), (0.5, (0.722, 0.011), (0.2794, 0.0020))]
)
def test_binary_spins_of_sixteen_dimensions(
    temperature: float, m: tuple[float, float], energy: tuple[float, float]
) -> None:
    """Against an independent simulation of 8 data sets: +-1 off the diagonal, tau = 2, alpha = 5, ridge 0.1 on it."""
    rngs = [np.random.default_rng((1, index)) for index in range(16)]
    data = [draw_prompts(dimension=16, context=80, prompts=512, last_row=False, rng=rng) for rng in rngs]
    draws = sample_spins(data, Spins(RIDGE, BINARY, RIDGE), temperature=temperature, sweeps=200, warmup=80, rngs=rngs)
    for name, (mean, error) in (("m", m), ("loss", energy)):
        values = draws.mean(name)
        assert abs(values.mean() - mean) < 3 * np.hypot(error, values.std(ddof=1) / 4), name
        assert abs(draws.gap(name)) < 3.5
