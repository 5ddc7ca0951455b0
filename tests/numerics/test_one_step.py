"""One step of breaking in numbers: known values, brute force, stationarity, the symmetric theory, wrong theories."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, optimize, special

import iclglass
from iclglass.numerics.lowering import broken as lowered
from iclglass.numerics.lowering.broken import broken
from iclglass.numerics.status import Status
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention

GLASS = {"task_diversity": 2.0, "context_length": 5.0, "ridge": 0.1, "spins": "binary"}
BINARY = linear_attention(spins="binary")
POINT = {"tau": 2.0, "alpha": 5.0, "alpha_test": 5.0, "rho": 0.0, "lam": 0.1, "spacing": 1.0}
ORDER = ("m", "q1", "q0", "chi", "parisi")
DUAL = ("K", "M", "Q1", "Q0")


def found_at(temperature):
    return iclglass.solve(**GLASS, temperature=temperature, ansatz="1rsb")


def as_point(found, temperature):
    order = {name: float(getattr(found, name)) for name in ORDER}
    return {name: np.array([value]) for name, value in {**POINT, "T": temperature, **order}.items()}


def test_the_ground_state_of_binary_weights():
    """Independent double-precision solution of the equations at T = 0."""
    found = found_at(0.0)
    assert found.status == Status.RS_UNSTABLE
    assert (round(float(found.m), 6), round(float(found.q0 - found.m**2), 5)) == (0.694479, 0.53621)
    assert (round(float(found.chi), 6), round(float(found.energy), 6)) == (0.161144, 0.202245)
    assert round(float(found.parisi), 5) == 4.68105
    assert round(float(1 - 2 * found.m + 1.2 * found.q0), 6) == 0.833261
    assert abs(found.complexity) < 1e-9
    assert float(found.error_bound) < 1e-8
    assert float(found.free_energy) == pytest.approx(float(found.energy), abs=1e-12)


def test_the_limit_of_sherrington_and_kirkpatrick():
    """Against their one-step energy at T = 0 as it stands in textbooks, solved here; that is -0.765259."""
    z, weight = np.polynomial.hermite_e.hermegauss(200)

    def energy(y, q0):
        h, deviation = np.sqrt(q0) * z, np.sqrt(1 - q0)
        up, down = (special.log_ndtr(sign * h / deviation + y * deviation) + sign * y * h for sign in (1, -1))
        cluster = y**2 * deviation**2 / 2 + np.logaddexp(up, down)
        return y * (1 - q0**2) / 4 - weight @ cluster / weight.sum() / y

    def slopes(x):
        steps = 1e-5 * np.eye(2)
        return [(energy(*(x + step)) - energy(*(x - step))) / 2e-5 for step in steps]

    one_step = energy(*optimize.root(slopes, [1.36, 0.477], tol=1e-10).x)
    tau = np.array([1e3, 1e4, 1e5])
    for ansatz, wanted in (("rs", -np.sqrt(2 / np.pi)), ("1rsb", one_step)):
        law = {"task_diversity": tau, "context_length": 1e12, "ridge": 0.0, "spins": "binary", "ansatz": ansatz}
        scaled = (iclglass.solve(**law).energy - 0.5) * np.sqrt(tau)
        # What is left is a series in tau^(-1/2).
        assert np.polyfit(tau**-0.5, scaled, 2)[-1] == pytest.approx(wanted, abs=1e-7)


def test_where_nothing_breaks_it_is_the_symmetric_theory():
    for more in ({"temperature": 0.3}, {"spins": "real", "l1": 0.5}):
        one, two = (iclglass.solve(**(GLASS | more), ansatz=ansatz) for ansatz in ("rs", "1rsb"))
        assert two.status == Status.CONVERGED
        assert float(two.q1) == float(two.q0) == float(one.q)
        assert np.isnan(two.parisi)
        assert two.complexity == 0
        for name in ("m", "e_icl", "free_energy", "replicon"):
            assert getattr(one, name) == getattr(two, name)


def test_one_step_raises_the_free_energy_and_joins_the_symmetric_one_at_the_line():
    temperature = np.array([0.1, 0.2, 0.21])
    one, two = (iclglass.solve(**GLASS, temperature=temperature, ansatz=ansatz) for ansatz in ("rs", "1rsb"))
    gain, gap = two.free_energy - one.free_energy, two.q1 - two.q0
    assert (gain > 0).all()
    assert (np.diff(gain) < 0).all()
    assert (np.diff(gap) < 0).all()
    # The entropy of the symmetric solution is negative at low temperature, that of one step much less so.
    assert one.entropy[0] < -0.05
    assert two.entropy[0] > 0
    assert (two.parisi * temperature < 1).all()


def brute_force(K, common, variance, y, T):
    """E<s^2>, E<s>^2 and the mean free energy of clusters of spins +-1, by nested adaptive integration."""

    def free(h):
        return K / 2 - (abs(h) if T == 0 else T * np.logaddexp(h / T, -h / T))

    def spin(h):
        return np.sign(h) if T == 0 else np.tanh(h / T)

    def inside(h, function):
        def weighted(z, what):
            field = h + np.sqrt(variance) * z
            return what(field) * np.exp(-y * free(field) - z**2 / 2) / np.sqrt(2 * np.pi)

        kink = float(np.clip(-h / np.sqrt(variance), -11.9, 11.9))
        return integrate.quad(weighted, -12, 12, args=(function,), points=[kink], epsabs=0, epsrel=1e-11, limit=200)[0]

    def mean(h, what):
        z = h / np.sqrt(common)
        total = inside(h, lambda field: 1.0)
        values = (inside(h, lambda f: spin(f) ** 2) / total, (inside(h, spin) / total) ** 2, -np.log(total) / y)
        return values[what] * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi * common)

    end = 9 * np.sqrt(common)
    return [2 * integrate.quad(mean, 0, end, args=(what,), epsrel=1e-9, limit=100)[0] for what in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_averages_over_clusters_against_nested_integrals(temperature):
    point = as_point(found_at(temperature), temperature)
    system = broken(BINARY, thermal=temperature > 0)
    values, nodes = system._answered(point, 1.0)
    K, Q1, Q0 = (float(values[name][0]) for name in ("K", "Q1", "Q0"))
    wanted = brute_force(K, Q0, Q1 - Q0, float(point["parisi"][0]), temperature)
    integrands = (S.cluster_square, S.cluster_spin**2, S.cluster_free)
    found = [np.sum(nodes.weight * np.square(nodes.values["cluster_spin"])) if each == S.cluster_spin**2
             else np.sum(nodes.weight * nodes.values[each.name]) for each in integrands]  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_the_free_energy_is_stationary_in_all_nine_variables(temperature):
    """The functional with order parameters and fields as they are, its derivatives by differences."""
    point = as_point(found_at(temperature), temperature)
    system = broken(BINARY, thermal=temperature > 0)
    fields = {name: system.fields(point)[name] for name in DUAL}

    def free(changed):
        given = {**point, **changed}
        dual = {name: changed.get(name, fields[name]) for name in DUAL}
        values = system.definitions(given) | dual
        precision = system._value(system.system.diagonal_precision, values)
        w = values["M"] / (precision + values["lam"])
        values |= {"diagonal": w, "diagonal_free": -(values["M"] ** 2) / (precision + values["lam"]) / 2}
        variance = values["Q1"] - values["Q0"]
        arguments = (values["K"], values["Q0"], variance, given["parisi"], given["T"], given)
        return float(
            system._value(system.system.free_energy, values, lowered.clusters(system.spin, *arguments, 1.5))[0]
        )

    for name in (*ORDER, *DUAL):
        centre = {**point, **fields}[name]
        step = 1e-4 * centre
        slope = (free({name: centre + step}) - free({name: centre - step})) / (2 * step)
        scale = abs(free({name: centre * 1.1}) - free({})) / (0.1 * centre) + 0.1
        assert abs(slope[0]) < 1e-6 * scale[0], name


@pytest.mark.parametrize(
    ("side", "symbol", "change"),
    [
        ("prompts", S.Q1, lambda value: 1.01 * value),
        ("prompts", S.Q0, lambda value: 1.05 * value),
        ("prompts", S.M, lambda value: -value),
        ("spins", S.chi, lambda value: value / 2),
    ],
)
def test_a_wrong_theory_has_another_ground_state(side, symbol, change, monkeypatch):
    system = broken(BINARY, thermal=False)
    wrong = {**getattr(system.system, side)}
    wrong[symbol] = change(wrong[symbol])
    monkeypatch.setattr(system, "system", dataclasses.replace(system.system, **{side: wrong}))
    found = iclglass.solve(**GLASS, ansatz="1rsb", throw=False)
    assert not abs(found.energy - 0.202245) < 1e-4


def test_a_grid_is_its_points():
    temperature = np.array([[0.05, 0.3], [0.15, 0.0]])
    grid = iclglass.solve(**GLASS, temperature=temperature, ansatz="1rsb")
    for index in np.ndindex(temperature.shape):
        alone = found_at(float(temperature[index]))
        assert grid.status[index] == alone.status
        for name in ("m", "q1", "q0", "parisi", "free_energy"):
            assert np.asarray(getattr(grid, name))[index] == pytest.approx(
                float(getattr(alone, name)), rel=1e-7, nan_ok=True
            )
