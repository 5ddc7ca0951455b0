"""The System of a model against its own functional by differences, and under changes of the model."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.functional import SYMMETRIC, functional
from iclglass.replica.model import linear_attention
from iclglass.replica.one_body import SpinFree
from iclglass.replica.stability import replicon_eigenvalue
from iclglass.replica.system import system

SMOOTH = {
    "loss": sp.log(sp.cosh(S.y - S.f)),
    "penalty": S.lam * S.scaled_spin**2 / 2 + sp.sqrt(1 + S.scaled_spin**2) - 1,
}
CLASSES = {"labels": "sign", "loss": "log_loss", "spins": "binary"}
PARAMETERS = {S.tau: 1.7, S.lam: 0.3, S.rho: 0.2, S.alpha: 2.5, S.alpha_test: 4.0}
POINT = {S.m: 0.4, S.q: 0.7, S.chi: 0.9, S.K: 1.1, S.M: 0.8, S.Q: 0.6}
STEP, DIFFERENCES = 1e-4, 2e-7
"""Differences of fourth order: their error is that of rounding."""


@cache
def normal(size):
    nodes, weights = np.polynomial.hermite_e.hermegauss(size)
    return nodes, weights / np.sqrt(2 * np.pi)


def least(force, start, steps=60):
    """Root of an increasing force by Newton's method, everywhere at once."""
    x = start
    for _ in range(steps):
        value, slope = force(x)
        x = x - np.clip(value / slope, -1, 1)
    return x


class Numbers:
    """Averages of one system at one point by quadrature; one body is solved here, knowing only loss and penalty."""

    def __init__(self, derived, point, temperature):
        self.derived, self.T = derived, temperature
        self.values = {**PARAMETERS, **point, S.T: temperature}
        for symbol in (S.kappa1, S.kappa2, S.teacher_variance, S.a, S.a_test, S.c):
            self.values[symbol] = float(derived.definitions[symbol].subs(self.values))
        self.nodes = {"spins": self.spins(), "prompts": self.prompts()}
        K, M, lam = (self.values[s] for s in (S.K, S.M, S.lam))
        w = M / (K + lam)
        self.values |= {
            S.diagonal: w,
            S.diagonal_free: (K + lam) * w**2 / 2 - M * w,
            S.diagonal_penalty: lam * w**2 / 2,
        }

    def spins(self):
        K, Q, T, lam = self.values[S.K], self.values[S.Q], self.T, self.values[S.lam]
        z, weight = normal(120)
        h = np.sqrt(Q) * z
        if self.derived.model.spins == "binary":
            s = np.tanh(h / T)
            free = K / 2 - T * np.log(2 * np.cosh(h / T))
            known = {S.spin: s, S.response: (1 - s**2) / T, S.spin_free: free, S.mean_penalty: 0 * h}
        else:
            root = lambda x: np.sqrt(1 + x**2)  # noqa: E731
            s = least(lambda x: ((K + lam) * x + x / root(x) - h, K + lam + root(x) ** -3), 0 * h)
            energy = lam * s**2 / 2 + root(s) - 1
            response = 1 / (K + lam + root(s) ** -3)
            known = {
                S.spin: s,
                S.response: response,
                S.mean_penalty: energy,
                S.spin_free: energy + K * s**2 / 2 - h * s,
            }
        return {**known, S.field: h, S.normal: z, S.nonzero: 1 + 0 * h}, weight

    def prompts(self):
        v = self.values
        covariance = np.array(self.derived.covariance.subs(v), dtype=float)
        c, temperature = v[S.c], v[S.tau] * self.T
        if self.derived.model.labels == "sign":
            # t and its noise beside f_cav: t + noise is a half-line at a time, so that the label does not jump.
            total = covariance[0, 0] + v[S.rho]
            x, w = np.polynomial.legendre.leggauss(60)
            g, gw = np.concatenate([9 * (x + 1) / 2, -9 * (x + 1) / 2]), np.tile(9 * w / 2, 2)
            gw = gw * np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)
            shares = covariance[0] / np.sqrt(total)
            z, zw = normal(40)
            g, a = np.meshgrid(g, z, indexing="ij")
            weight = np.outer(gw, zw)
            y = np.sign(g)
            w_cav = shares[1] * g + np.sqrt(covariance[1, 1] - shares[1] ** 2) * a
            # E[t | g, f_cav] is enough: t is linear in integrands.
            joint = np.array([[total, covariance[0, 1]], [covariance[0, 1], covariance[1, 1]]])
            gains = np.linalg.solve(joint, covariance[0])
            t = gains[0] * np.sqrt(total) * g + gains[1] * w_cav
            # The density of f at temperature tau T.
            u, uw = np.polynomial.legendre.leggauss(120)
            width = np.sqrt(c * temperature)
            f = w_cav[..., None] + width * 9 * u
            cost = np.logaddexp(0, -y[..., None] * f)
            boltzmann = uw * np.exp(-(cost + (f - w_cav[..., None]) ** 2 / (2 * c)) / temperature)
            norm = boltzmann.sum(-1)
            mean = (boltzmann * f).sum(-1) / norm
            variance = (boltzmann * (f - mean[..., None]) ** 2).sum(-1) / norm
            free = -temperature * np.log(norm * 9 * width / np.sqrt(2 * np.pi * c * temperature))
            slope = (variance / (temperature * c) - 1) / c
            loss = (boltzmann * cost).sum(-1) / norm
        else:
            z, zw = normal(36)
            a, b, e = np.meshgrid(z, z, z, indexing="ij")
            weight = np.einsum("i,j,k->ijk", zw, zw, zw)
            root = np.linalg.cholesky(covariance)
            t, w_cav = root[0, 0] * a, root[1, 0] * a + root[1, 1] * b
            y = t + np.sqrt(v[S.rho]) * e
            mean = least(lambda f: ((f - w_cav) / c - np.tanh(y - f), 1 / c + np.cosh(y - f) ** -2), w_cav)
            loss = np.log(np.cosh(y - mean))
            free = loss + (mean - w_cav) ** 2 / (2 * c)
            curvature = np.cosh(y - mean) ** -2
            slope = -curvature / (1 + c * curvature)
        pull = (mean - w_cav) / c
        known = {S.y: y, S.t: t, S.f_cav: w_cav, S.f: mean, S.pull: pull, S.pull_slope: slope}
        return {**known, S.mean_loss: loss, S.prompt_free: free}, weight

    def __call__(self, expression):
        def averaged(average):
            known, weight = self.nodes[average.law]
            names = sorted(average.integrand.free_symbols & set(known), key=str)
            inside = average.integrand.subs({s: x for s, x in self.values.items() if s not in known})
            return sp.Float(float((weight * sp.lambdify(names, inside, "numpy")(*(known[s] for s in names))).sum()))

        done = expression.replace(lambda part: isinstance(part, Average), averaged)
        return float(done.subs(self.values))


CASES = {"smooth convex at T = 0": (SMOOTH, 0.0), "binary, log loss at T": (CLASSES, 0.8)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    change, temperature = CASES[request.param]
    derived = system(linear_attention(**change), thermal=temperature > 0)
    return derived, temperature, Numbers(derived, POINT, temperature)


def test_sides_are_stationary_points_of_the_functional(case):
    """Derivatives of -T phi by differences, against those that the System was solved from."""
    derived, temperature, at = case
    free = derived.free_energy

    def slope(symbol):
        around = (
            Numbers(derived, {**POINT, symbol: POINT[symbol] + k * STEP}, temperature)(free) for k in (-2, -1, 1, 2)
        )
        return np.dot([1, -8, 8, -1], list(around)) / (12 * STEP)

    K, M, Q = (at(derived.prompts[s]) for s in (S.K, S.M, S.Q))
    m, q, chi = (at(derived.spins[s]) for s in (S.m, S.q, S.chi))
    T = temperature
    expected = {
        S.q: (K - POINT[S.K]) / 2,
        S.m: POINT[S.M] - M,
        S.chi: (POINT[S.Q] - Q) / 2 + T * (K - POINT[S.K]) / 2,
        S.K: (q - POINT[S.q]) / 2 + T * (chi - POINT[S.chi]) / 2,
        S.M: POINT[S.m] - m,
        S.Q: (POINT[S.chi] - chi) / 2,
    }
    for symbol, value in expected.items():
        assert abs(slope(symbol) - value) < DIFFERENCES, symbol
        assert abs(value) > 1e-3


def test_parts_integrated_are_the_same_numbers(case):
    derived, _, at = case
    for plain, parts in ((derived.prompts, derived.prompts_by_parts), (derived.spins, derived.spins_by_parts)):
        for symbol, value in plain.items():
            assert abs(at(value) - at(parts[symbol])) < 1e-7, symbol


def solved(derived, temperature):
    point = dict(POINT)
    for _ in range(60):
        fields = Numbers(derived, point, temperature)
        new = {s: fields(value) for s, value in derived.prompts.items()}
        answers = Numbers(derived, {**point, **new}, temperature)
        point |= new
        point |= {s: 0.5 * point[s] + 0.5 * answers(value) for s, value in derived.spins.items()}
    return Numbers(derived, point, temperature)


@pytest.mark.slow
def test_the_ground_state_has_no_entropy_and_energy_is_a_derivative():
    cold = system(linear_attention(**SMOOTH), thermal=False)
    at = solved(cold, 0.0)
    assert abs(at(cold.free_energy) - at(cold.observables["energy"])) < 1e-8
    assert "entropy" not in cold.observables


def test_energy_is_the_derivative_of_the_functional_by_temperature(case):
    """E = F - T dF/dT at fixed overlaps and conjugate fields in their own units, for T > 0."""
    derived, T, at = case
    if not T:
        pytest.skip("at T = 0 energy and free energy are one")

    def phi(beta):
        warm = T * beta  # old temperature over new
        units = {S.chi: POINT[S.chi] * warm, S.K: POINT[S.K] / warm, S.M: POINT[S.M] / warm, S.Q: POINT[S.Q] / warm**2}
        return -Numbers(derived, {**POINT, **units}, 1 / beta)(derived.free_energy) * beta

    slope = np.dot([1, -8, 8, -1], [phi(1 / T + k * STEP) for k in (-2, -1, 1, 2)]) / (12 * STEP)
    assert abs(-slope - at(derived.observables["energy"])) < 1e-6


def test_nothing_of_the_temperature_is_left_at_zero():
    cold = system(linear_attention(**SMOOTH), thermal=False)
    expressions = [*cold.prompts.values(), *cold.spins.values(), cold.free_energy, *cold.observables.values()]
    assert not any(S.T in expression.free_symbols for expression in expressions)
    warm = system(linear_attention(**SMOOTH), thermal=True)
    assert warm.prompts == cold.prompts
    assert warm.spins == cold.spins
    assert warm.free_energy.subs(S.T, 0) == cold.free_energy


v = sp.Symbol("v", positive=True)
one = 1 + S.rho
VARIANTS = {
    "noise": ({"label_noise": 3 * S.rho}, 1, 1 + 3 * S.rho, 1 + (1 + 3 * S.rho) / S.alpha),
    "tasks": ({"task_variance": v}, v, v + S.rho, v + (v + S.rho) / S.alpha),
    "sign": ({"labels": "sign", "loss": "log_loss"}, sp.sqrt(2 / sp.pi / one), 1, 2 / (sp.pi * one) + 1 / S.alpha),
    "sign, tasks": (
        {"labels": "sign", "loss": "hinge", "task_variance": v, "label_noise": sp.S.Zero},
        sp.sqrt(2 * v / sp.pi),
        1,
        2 / sp.pi + 1 / S.alpha,
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_definitions_follow_the_disorder(name):
    change, kappa1, kappa2, a = VARIANTS[name]
    derived = system(linear_attention(**change), thermal=False)
    by_hand = {S.kappa1: kappa1, S.kappa2: kappa2, S.a: a, S.a_test: a.subs(S.alpha, S.alpha_test)}
    for symbol, value in by_hand.items():
        assert sp.simplify(derived.definitions[symbol] - value) == 0, symbol
    noise = change.get("label_noise", S.rho)
    assert derived.label_noise == noise
    assert derived.definitions[S.teacher_variance] == change.get("task_variance", 1)


def test_divisor_of_the_attention_sum_does_not_matter_at_large_dimension():
    model = linear_attention()
    longer = dataclasses.replace(model, scaling=((S.norm, S.N + 1), *model.scaling[1:]))
    assert system(longer, thermal=False).definitions == system(model, thermal=False).definitions


@pytest.mark.parametrize(
    "change",
    [
        {"loss": 3 * (S.y - S.f) ** 2 / 2},
        {"loss": "huber"},
        {"prior_precision": 2 * S.lambda0},
        {"penalty": "lasso"},
        {"penalty": S.lam * S.scaled_spin**2 / 2 + S.scaled_spin / 3},
        {"spins": "ternary"},
    ],
    ids=str,
)
def test_loss_and_penalty_are_behind_the_nodes(change):
    """They change what one body does and the losses that are shown, no equation."""
    model = linear_attention(**change)
    derived, default = system(model, thermal=True), system(linear_attention(), thermal=True)
    assert derived.prompts == default.prompts
    assert derived.spins == default.spins
    assert derived.replicon == default.replicon
    assert derived.observables["train_loss"] == Average(model.loss, "prompts")
    assert derived.observables["test_loss"] == Average(model.loss.subs(S.f, S.f_cav), "test")


def test_observables_of_classification_and_regression():
    linear, sign = (
        system(linear_attention(loss=loss, labels=labels), thermal=True)
        for loss, labels in (("huber", "linear"), ("log_loss", "sign"))
    )
    squares = {"e_icl", "e_icl_gibbs", "e_idg", "e_train"}
    assert squares <= set(linear.observables)
    assert not squares & set(sign.observables)
    angle = sp.acos(S.kappa1 * S.m / sp.sqrt((1 + S.rho) * S.a_test * S.q)) / sp.pi
    assert sp.simplify(sign.observables["error_rate"] - angle) == 0
    assert linear.observables["e_icl"] == S.kappa2 - 2 * S.kappa1 * S.m + S.a_test * S.q


def test_angle_between_sign_labels_and_predictions():
    """P(y f < 0) with cov(t + noise, f) = kappa1 m, by drawing them."""
    sign = system(linear_attention(loss="log_loss", labels="sign"), thermal=False)
    v = {**PARAMETERS, **POINT}
    v |= {s: float(sign.definitions[s].subs(v)) for s in (S.kappa1, S.a, S.a_test, S.teacher_variance)}
    draws = np.random.default_rng(5).multivariate_normal(
        [0, 0], np.array(sign.test_covariance.subs(v), dtype=float), 400_000
    )
    noise = np.random.default_rng(6).standard_normal(len(draws)) * np.sqrt(v[S.rho])
    share = np.mean((draws[:, 0] + noise) * draws[:, 1] < 0)
    assert abs(share - float(sign.observables["error_rate"].subs(v))) < 4 * 0.5 / np.sqrt(len(draws))


def test_replicon_is_averages_of_squared_slopes():
    derived = system(linear_attention(), thermal=True)
    expected = 1 - S.a**2 / S.tau * Average(S.pull_slope**2, "prompts") * Average(S.response**2, "spins")
    assert sp.expand(derived.replicon - expected) == 0
    x = sp.Symbol("x")
    # Of four replicas in one field: same pair, one shared, none shared.
    spins = sp.Matrix([[x, x**3]])
    assert replicon_eigenvalue(*spins) == x**4 * (x - 1) ** 2


def test_spins_of_replicas_in_a_common_field():
    """sum over s^a = +-1 of exp(-sum_ab Qh_ab s_a s_b/2) = E_h [2 exp(-k/2) cosh h]^n, h ~ N(0, q_hat)."""
    k, q_hat = 0.7, 0.4
    z, weight = normal(80)
    for n in (1, 2, 3):
        total = 0.0
        for pattern in range(2**n):
            s = np.array([1 - 2 * (pattern >> bit & 1) for bit in range(n)])
            total += np.exp(-k * (s @ s) / 2 + q_hat * s.sum() ** 2 / 2)
        in_field = (weight * (2 * np.exp(-k / 2) * np.cosh(np.sqrt(q_hat) * z)) ** n).sum()
        assert abs(in_field / total - 1) < 1e-12


def test_the_functional_has_one_term_a_class_of_spins():
    parts = functional()
    assert len(parts.spins) == 2
    assert SYMMETRIC.precision() == S.k_hat
    free = parts.free_energy()
    assert free.has(SpinFree)
    assert sp.diff(sp.diff(free, S.K), S.M) == sp.diff(sp.diff(free, S.M), S.K)
