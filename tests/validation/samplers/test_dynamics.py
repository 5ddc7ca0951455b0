"""One step of each dynamics against a slow obvious version; reversibility and order of the leapfrog (goal M5)."""

import numpy as np
import pytest
from scipy.special import erfc

from iclglass.validation.samplers import chains, heat_bath
from iclglass.validation.samplers.chains import State
from iclglass.validation.samplers.hmc import Hamiltonian, default_step, default_steps, leapfrog
from iclglass.validation.samplers.langevin import UnadjustedLangevin, mala
from iclglass.validation.samplers.target import make_target, spectrum

ROUNDING = 1e-12
REVERSIBLE = 1e-12
ORDER = 0.05


def start(target, rng, count=3):
    return rng.standard_normal((count, target.spins))


def advanced(way, target, rng):
    """Where three chains start, the normal numbers of the step, and the state after it."""
    positions = start(target, rng)
    moved = way.advance(way.start(positions.copy()), np.random.default_rng(4))
    return positions, np.random.default_rng(4).standard_normal(positions.shape), moved


@pytest.mark.parametrize("matrix_free", [False, True])
def test_heat_bath_is_spin_by_spin(data, measure, target, rng, matrix_free):
    """Every spin in order from its law given the others, in a loop."""
    way = heat_bath.heat_bath(make_target(data, **measure, matrix_free=matrix_free))
    positions, noise, moved = advanced(way, target, rng)
    matrix = target.matrix
    for chain, spins in enumerate(positions):
        for i in range(target.spins):
            others = matrix[i] @ spins - matrix[i, i] * spins[i]
            mean = (target.fields[i] - others) / matrix[i, i]
            spins[i] = mean + noise[chain, i] / np.sqrt(target.beta * matrix[i, i])
    np.testing.assert_allclose(moved.positions, positions, rtol=0, atol=ROUNDING)


def test_langevin_step(target, rng):
    positions, noise, moved = advanced(UnadjustedLangevin(target, 0.1), target, rng)
    gradients = positions @ target.matrix - target.fields
    expected = positions - 0.1 * gradients + np.sqrt(0.2 / target.beta) * noise
    np.testing.assert_allclose(moved.positions, expected, rtol=0, atol=ROUNDING)


def test_mala_is_metropolis_hastings_with_langevin_proposals(target, rng, monkeypatch):
    """The accept step is shown the log ratio of densities and proposals, computed here as the textbook has it."""
    step, seen = 0.2, []
    monkeypatch.setattr(chains, "accepted", lambda change, beta, rng: seen.append(-beta * change) or change < 0)
    positions, noise, _ = advanced(mala(target, step), target, rng)
    beta = target.beta
    for chain, old in enumerate(positions):
        gradient = target.matrix @ old - target.fields
        new = old - step * gradient + np.sqrt(2 * step / beta) * noise[chain]
        back = target.matrix @ new - target.fields
        height = [0.5 * x @ target.matrix @ x - target.fields @ x for x in (old, new)]
        forth = np.sum((new - old + step * gradient) ** 2)
        return_ = np.sum((old - new + step * back) ** 2)
        ratio = -beta * (height[1] - height[0]) - beta * (return_ - forth) / (4 * step)
        assert seen[0][chain] == pytest.approx(ratio, rel=1e-9, abs=1e-9)


def test_the_accept_step_keeps_and_moves(rng):
    old = State(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2), np.ones(2))
    new = State(np.ones((2, 3)), np.full((2, 3), 2.0), np.full(2, 3.0), np.ones(2))
    found = chains.choose(np.array([True, False]), new, old)
    assert found.positions.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert found.carried.tolist() == [[2, 2, 2], [0, 0, 0]]
    assert (found.energies.tolist(), found.acceptance.tolist()) == ([3, 0], [1, 0])
    changes = np.full(100_000, 0.5)
    rate = chains.accepted(changes, 2.0, rng).mean()
    expected = np.exp(-1)
    assert abs(rate - expected) < 4 * np.sqrt(expected * (1 - expected) / 1e5)  # false alarm 6e-5
    assert not chains.accepted(np.array([np.nan, np.inf]), 1.0, rng).any()


def test_leapfrog_is_reversible(target, rng):
    edges = spectrum(target, rng)
    step = default_step(edges)
    positions, momenta = start(target, rng), start(target, rng) / np.sqrt(target.beta)
    there = leapfrog(target, positions, momenta, target.gradient(positions), step, 50)
    back = leapfrog(target, there[0], -there[1], there[2], step, 50)
    scale = np.max(np.abs(positions))
    assert np.max(np.abs(back[0] - positions)) < REVERSIBLE * scale
    assert np.max(np.abs(back[1] + momenta)) < REVERSIBLE * scale
    assert np.max(np.abs(there[0] - positions)) > 0.1 * scale


def test_energy_error_is_of_second_order(target, rng):
    positions, momenta = start(target, rng, 20), start(target, rng, 20) / np.sqrt(target.beta)
    gradients = target.gradient(positions)
    before = target.energy(positions, gradients) + np.sum(momenta**2, axis=1) / 2
    steps, errors = np.array([0.1, 0.05, 0.025, 0.0125]), []
    for step in steps:
        x, p, g = leapfrog(target, positions, momenta, gradients, step, round(2 / step))
        change = target.energy(x, g) + np.sum(p**2, axis=1) / 2 - before
        errors.append(np.sqrt(np.mean(change**2)))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - 2) < ORDER


def test_default_acceptance_is_what_the_energy_error_predicts(target, rng):
    """Acceptance of one leapfrog trajectory: erfc(sqrt(mu)/2), mu the mean energy error, known mode by mode."""
    edges = spectrum(target, rng)
    step = default_step(edges)
    count = default_steps(edges, step)
    values = np.linalg.eigvalsh(target.matrix)
    s = values * step**2
    angle = np.arccos(1 - s / 2)
    predicted = np.mean(
        [erfc(np.sqrt(np.sum(np.sin(k * angle) ** 2 * s**2 / (32 * (1 - s / 4)))) / 2) for k in range(1, count + 1)]
    )
    way = Hamiltonian(target, step, count)
    state = way.start(start(target, rng, 50))
    rates = []
    for index in range(600):
        state = way.advance(state, rng)
        if index >= 100:
            rates.append(state.acceptance.mean())
    # The formula is for many modes; at n = 30 it is right to 1 %. Uncorrelated steps: error 0.4/sqrt(25000) = 0.003.
    assert abs(np.mean(rates) - predicted) < 0.02
    assert 0.7 < predicted < 0.9
