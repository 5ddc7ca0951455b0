"""Pools of tasks at finite size: their law, exact errors on new prompts, and the theory of pools in extrapolation."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.instance.linear_response import linear_response
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import from_unscaled
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum
from iclglass.validation.crosscheck import compare, validate
from iclglass.validation.observables import QUANTITIES, measure
from iclglass.validation.pools import at_dimension, draw_pool
from iclglass.validation.population import gaussian_moments, pool_moments, population_error
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.simulation import simulate
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.scores import z_of

FALSE_ALARM = 0.01  # of each statistical test below, over all its comparisons together
D, N, RHO = 4, 3, 0.3
SPECTRUM = np.array([2.0, 1.0, 0.5, 0.1])


def pool(count=3, seed=0):
    return draw_pool(dimension=D, count=count, spectrum=SPECTRUM, rng=np.random.default_rng(seed))


def fresh(seed=1, prompts=200_000, method="tokens", norm="N", context=N, **law):
    rng = np.random.default_rng(seed)
    return draw_prompts(
        dimension=D, context=context, prompts=prompts, label_noise=RHO, norm=norm, method=method, rng=rng, **law
    )


def squares(data, weights):
    return (data.label - FeatureOperator(data.context, data.query).predict(weights)) ** 2


class TestDrawing:
    def test_pool_has_the_given_covariance(self):
        tasks = draw_pool(dimension=3, count=40_000, spectrum=[4.0, 1.0, 0.0], rng=np.random.default_rng(0))
        assert not np.any(tasks[:, 2])
        # sum w^2/c is chi-squared with K degrees of freedom.
        for column, variance in ((0, 4.0), (1, 1.0)):
            probability = stats.chi2.cdf(np.sum(tasks[:, column] ** 2) / variance, 40_000)
            assert FALSE_ALARM / 4 < probability < 1 - FALSE_ALARM / 4

    def test_every_prompt_draws_one_of_the_tasks_and_all_equally(self):
        """Without label noise the label and the query tell the task, whatever K."""
        tasks = pool(count=5)
        data = draw_prompts(dimension=D, context=2, prompts=10_000, tasks=tasks, rng=np.random.default_rng(4))
        gaps = np.abs(data.label[:, None] - data.query @ tasks.T / math.sqrt(D))
        assert np.all(gaps.min(axis=1) < 1e-12)
        counts = np.bincount(gaps.argmin(axis=1), minlength=5)
        assert stats.chisquare(counts).pvalue > FALSE_ALARM
        assert data.tasks is not None

    def test_random_numbers_of_the_default_path_are_those_they_were(self):
        """Tasks, queries, noise, in this order and nothing before: the stream of prompts with their own task."""
        data = fresh(prompts=7, method="reduced")
        rng = np.random.default_rng(1)
        task, query, noise = rng.standard_normal((7, D)), rng.standard_normal((7, D)), rng.standard_normal(7)
        np.testing.assert_array_equal(data.query, query)
        np.testing.assert_allclose(data.label, np.sum(task * query, axis=1) / 2 + math.sqrt(RHO) * noise, rtol=1e-13)
        same = fresh(prompts=7, method="reduced", spectrum=np.ones(D))
        np.testing.assert_array_equal(same.context, data.context)
        assert data.tasks is None
        assert data.spectrum is None

    def test_a_task_of_zeros_has_labels_of_noise_alone(self):
        one, two = (fresh(method=method, tasks=np.zeros((1, D)), prompts=50_000) for method in ("reduced", "tokens"))
        for column in (0, D):
            assert stats.ks_2samp(one.context[:, column], two.context[:, column]).pvalue > FALSE_ALARM / 2

    @pytest.mark.parametrize(
        ("law", "error", "message"),
        [
            ({"tasks": np.zeros((0, D))}, ParameterError, r"tasks must have shape \(K, 4\) with K >= 1, got \(0, 4\)"),
            ({"tasks": np.zeros((2, 3))}, ParameterError, r"tasks must have shape \(K, 4\)"),
            ({"tasks": np.zeros(D)}, ParameterError, r"tasks must have shape"),
            ({"tasks": np.full((1, D), np.nan)}, ParameterError, "tasks must be finite"),
            ({"tasks": [["a"] * D]}, ParameterTypeError, "tasks must be a real number"),
            ({"tasks": np.ones((2, D)), "spectrum": SPECTRUM}, ParameterError, "draw the pool with it"),
        ],
    )
    def test_bad_pools_are_refused(self, law, error, message):
        with pytest.raises(error, match=message):
            fresh(prompts=2, **law)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"count": 0}, ParameterError, "count must be at least 1"),
            ({"dimension": 0}, ParameterError, "dimension must be at least 1"),
            ({"spectrum": [1.0, 2.0]}, ParameterError, r"one eigenvalue a dimension, \(3,\), got \(2,\)"),
            ({"spectrum": [1.0, -1.0, 0.0]}, ParameterError, r"task eigenvalue -1\.0 must be finite and >= 0"),
            ({"spectrum": [1.0, np.nan, 0.0]}, ParameterError, "task eigenvalue nan"),
            ({"spectrum": "abc"}, ParameterTypeError, "must be a real number"),
            ({"rng": 3}, ParameterTypeError, "rng must be a numpy.random.Generator"),
        ],
    )
    def test_bad_input_is_refused(self, change, error, message):
        with pytest.raises(error, match=message):
            draw_pool(**({"dimension": 3, "count": 2, "rng": np.random.default_rng(0)} | change))

    def test_quantiles_of_a_spectrum(self):
        power = TaskSpectrum.power_law(1.0, size=6, test=np.arange(6.0))
        found = at_dimension(power, 12)
        np.testing.assert_array_equal(found.pretraining, np.repeat(power.pretraining, 2))
        np.testing.assert_array_equal(found.test, np.repeat(power.test, 2))
        assert found.strength == pytest.approx(1, rel=1e-14)
        assert at_dimension(ISOTROPIC, 5).pretraining.tolist() == [1.0] * 5
        rounded = at_dimension(TaskSpectrum.from_eigenvalues([9.0, 1.0], weights=[0.3, 0.7]), 4)
        assert rounded.pretraining.tolist() == [9.0, 1.0, 1.0, 1.0]
        with pytest.raises(ParameterError, match="no direction is left with pretraining eigenvalue > 0"):
            at_dimension(TaskSpectrum.from_eigenvalues([9.0, 0.0], weights=[0.1, 0.9]), 4)


class TestPopulationErrors:
    """Exact second moments against 2e5 new prompts drawn token by token, for weights with every entry of order one."""

    WEIGHTS = np.random.default_rng(11).standard_normal((D + 1, D))

    def cases(self):
        """(moments, prompts of their law)."""
        scaled, absent = {"last_feature": "scaled-tokens"}, {"last_row": False}
        for norm, layer in (("N", {}), ("N+1", {}), ("N", scaled), ("N+1", absent)):
            options = {"context": N, "label_noise": RHO, "norm": norm, **layer}
            yield pool_moments(pool(), **options), fresh(tasks=pool(), norm=norm, **layer)
            yield gaussian_moments(SPECTRUM, **options), fresh(spectrum=SPECTRUM, norm=norm, **layer)
        one = pool(count=1)
        moments = pool_moments(one, context=1, label_noise=RHO, norm="N")
        yield moments, fresh(tasks=one, context=1, method="reduced")

    def test_error_on_new_prompts(self):
        z = []
        for moments, data in self.cases():
            weights = self.WEIGHTS[: len(moments.signal)]
            z.append(z_of(squares(data, weights), population_error(weights, moments)))
        assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, len(z)), z

    def test_every_moment(self):
        z = []
        for moments, data in self.cases():
            signal = np.einsum("p,pi,pj->pij", data.label, data.context, data.query)
            second = np.einsum("pi,pk->pik", data.context, data.context)
            z.append(z_of(data.label**2, moments.label))
            z += [
                *z_of(signal, moments.signal).ravel(),
                *z_of(second, moments.second)[np.triu_indices(len(moments.second))],
            ]
        assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, len(z))

    @pytest.mark.parametrize("part", ["signal", "second"])
    def test_terms_between_block_and_last_row_do_not_vanish_for_a_pool(self, part):
        moments, data = next(self.cases())
        changed = getattr(moments, part).copy()
        changed[D, :D] = 0
        if part == "second":
            changed[:D, D] = 0
        wrong = replace(moments, **{part: changed})
        z = z_of(squares(data, self.WEIGHTS), population_error(self.WEIGHTS, wrong))
        assert abs(z) > bonferroni_threshold(FALSE_ALARM, 1)

    @pytest.mark.parametrize("norm", ["N", "N+1"])
    def test_isotropic_moments_are_those_of_the_symbolic_layer(self, norm):
        exact = feature_moments(dimension=7, context=5, label_noise=0.4, norm=norm)
        found = gaussian_moments(np.ones(7), context=5, label_noise=0.4, norm=norm)
        rtol = 1e-14
        np.testing.assert_allclose(found.label, exact.label, rtol)
        np.testing.assert_allclose(found.signal, np.eye(8, 7) * exact.signal / 7, rtol)
        np.testing.assert_allclose(np.diagonal(found.second)[:7], exact.block / 7, rtol)
        np.testing.assert_allclose(found.second[7, 7], exact.last_row, rtol)
        assert np.count_nonzero(found.second) == 8

    def test_wrong_shape_is_refused(self):
        with pytest.raises(ParameterError, match=r"weights must have shape \(5, 4\), got \(4, 4\)"):
            population_error(np.zeros((4, 4)), pool_moments(pool(), context=N, label_noise=RHO, norm="N"))


class TestMeasure:
    @pytest.mark.parametrize("pooled", [True, False])
    def test_errors_of_the_ground_state_by_direct_monte_carlo(self, pooled):
        law = (
            {"tasks": pool(count=2)} if pooled else {"norm": "N+1"}
        )  # a pool whose error is far from that on new tasks
        tested, context = (SPECTRUM, 6) if pooled else (None, None)
        data = fresh(prompts=40, **law)
        found = measure(data, ridge=0.2, test_spectrum=tested, test_context=context)
        weights = linear_response(data, 0.2 / D).weights
        new = fresh(seed=8, spectrum=tested, context=context or N, norm=data.norm)
        z = [z_of(squares(fresh(seed=7, **law), weights), found.e_idg), z_of(squares(new, weights), found.e_icl)]
        assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, 2), z

    def test_own_isotropic_tasks_make_both_errors_one(self):
        found = measure(fresh(prompts=40), ridge=0.2)
        assert found.e_idg == found.e_icl
        structured = fresh(prompts=40, spectrum=SPECTRUM)
        assert measure(structured, ridge=0.2, test_spectrum=SPECTRUM).e_icl == measure(structured, ridge=0.2).e_idg
        assert measure(structured, ridge=0.2).e_icl != measure(structured, ridge=0.2).e_idg

    @pytest.mark.parametrize("prompts", [12, 60])
    @pytest.mark.parametrize("method", ["primal", "dual"])
    def test_gibbs_error_on_structured_tasks_by_dense_matrices(self, prompts, method):
        data = fresh(prompts=prompts, tasks=pool())
        temperature, ridge = 0.6, 0.3
        found = measure(data, ridge=ridge, temperature=temperature, method=method, test_spectrum=SPECTRUM)
        dense = boltzmann(data, ridge0=ridge / D, beta=D**2 / temperature)
        second = gaussian_moments(SPECTRUM, context=N, label_noise=RHO, norm="N").second
        spread = np.trace(np.kron(second, np.eye(D)) @ dense.covariance)
        np.testing.assert_allclose(found.e_icl_gibbs, found.e_icl + spread, rtol=1e-9)
        response = linear_response(data, ridge / D, method, diagonal=True)
        np.testing.assert_allclose(response.row_traces[:D].sum(), response.block_trace, rtol=1e-10)
        np.testing.assert_allclose(response.row_traces[D], response.last_row_trace, rtol=1e-10)

    def test_bad_test_laws_are_refused(self):
        with pytest.raises(ParameterError, match="one eigenvalue a dimension"):
            measure(fresh(prompts=5), ridge=0.1, test_spectrum=[1.0])
        with pytest.raises(ParameterError, match="context must be at least 1"):
            measure(fresh(prompts=5), ridge=0.1, test_context=0)


POINT = {"task_diversity": 1.5, "context_length": 1.2, "ridge": 0.2, "temperature": 0.4, "seed": 7}
SMALL = {"dimensions": (4, 6), "samples": 3}


class TestSimulation:
    def test_integers_are_reported(self):
        found = simulate(**POINT, **SMALL, distinct_tasks=0.6, test_context_length=2.1)
        assert (found.prompts, found.contexts) == ((24, 54), (5, 7))
        assert (found.task_counts, found.test_contexts) == ((2, 4), (8, 13))
        alone = simulate(**POINT, **SMALL)
        assert (alone.task_counts, alone.test_contexts) == (alone.prompts, alone.contexts)
        assert alone.distinct_tasks == math.inf
        np.testing.assert_array_equal(alone.values["e_idg"], alone.values["e_icl"])
        assert simulate(**POINT, **SMALL, distinct_tasks=6).task_counts == (24, 36)  # as many tasks as prompts
        assert simulate(**POINT, dimensions=(6,), samples=2, distinct_tasks=0.1).task_counts == (1,)

    def test_every_data_set_has_a_pool_of_its_own_fixed_by_its_identity(self):
        law = {"distinct_tasks": 0.6, "tasks": TaskSpectrum.from_eigenvalues([2.0, 0.5])}
        found = simulate(**POINT, **SMALL, **law)
        again = simulate(**POINT, dimensions=(6, 4), samples=2, workers=1, **law)
        for name in QUANTITIES:
            np.testing.assert_array_equal(found.values[name][:, :2], again.values[name])
        assert len(np.unique(found.values["e_idg"])) == 6

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"distinct_tasks": 0}, ParameterError, r"distinct_tasks = 0\.0 must be > 0, or infinite"),
            ({"distinct_tasks": -1.0}, ParameterError, "distinct_tasks"),
            ({"distinct_tasks": math.nan}, ParameterError, "distinct_tasks"),
            ({"distinct_tasks": "2"}, ParameterTypeError, "distinct_tasks"),
            ({"distinct_tasks": [1.0, 2.0]}, ParameterTypeError, "distinct_tasks must be one number, got 2"),
            ({"test_context_length": 0}, ParameterError, r"test_context_length = 0\.0 must be finite and > 0"),
            ({"tasks": [1.0, 2.0]}, ParameterTypeError, r"tasks must be a TaskSpectrum, .* got list"),
        ],
    )
    def test_bad_input_is_refused(self, change, error, message):
        with pytest.raises(error, match=message):
            simulate(**POINT, **SMALL, **change)

    def test_checkpoint_belongs_to_its_pool(self, tmp_path):
        law = {"distinct_tasks": 0.6, "tasks": TaskSpectrum.power_law(1.0, size=50)}
        given = {**POINT, **SMALL, "checkpoint": tmp_path / "samples.checkpoint"}
        found = simulate(**given, **law)
        again = simulate(**given, **law)
        for name in QUANTITIES:
            np.testing.assert_array_equal(found.values[name], again.values[name])
        other = r"distinct_tasks is 0\.6 there and 'inf' here; tasks is .* 'isotropic'"
        for changed, message in (
            ({}, other),
            ({**law, "test_context_length": 2.0}, r"test_context_length is None there and 2\.0"),
        ):
            with pytest.raises(ParameterError, match=message):
                simulate(**given, **changed)


NOISY = {"label_noise": 0.1, "ridge": 0.2}


def wrong_kappa(factor):
    def theory(**parameters):
        return solve(**(parameters | {"distinct_tasks": factor * parameters["distinct_tasks"]}))

    return theory


class TestAgainstTheory:
    """The theory of pools against simulation, extrapolated in 1/D; kappa wrong by a factor 2 is caught."""

    def test_small_pool_below_the_threshold(self):
        point = {"task_diversity": 0.5, "context_length": 2, "distinct_tasks": 0.5, "test_context_length": 3, **NOISY}
        samples = simulate(**point, temperature=0.5, dimensions=(8, 12, 16, 24), samples=300, seed=3)
        found = compare(samples, largest_unseen_bias=0.4)  # e_train is small here
        assert found.passed, found.sentence
        assert [row.quantity for row in found.rows] == list(QUANTITIES)
        assert found.task_counts == (4, 6, 8, 12)
        for factor in (0.5, 2):
            wrong = compare(samples, theory=wrong_kappa(factor))
            assert {"e_idg", "e_icl"} & {row.quantity for row in wrong.rows if row.agrees is False}

    def test_validate_is_simulate_then_compare_and_json(self):
        spectrum = TaskSpectrum.from_eigenvalues([2.0, 0.5], test=[1.0, 1.0])
        law = {"task_diversity": 1.0, "context_length": 1.0, "distinct_tasks": 0.7, "tasks": spectrum}
        found = validate(**law, test_context_length=1.5, dimension=(6, 9), samples=4)
        again = compare(simulate(**law, test_context_length=1.5, dimensions=(6, 9), samples=4))
        assert found.to_dict() == again.to_dict()
        plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert (plain["distinct_tasks"], plain["task_counts"], plain["test_contexts"]) == (0.7, [4, 6], [9, 14])
        assert plain["tasks"]["pretraining"] == [2.0, 0.5]
        # P, N, K, the test context and the eigenvalues of each dimension are those of the theory beside it.
        rows = zip(
            found.rows[0].sizes, found.prompts, found.contexts, found.task_counts, found.test_contexts, strict=True
        )
        for size, prompts, context, count, tested in rows:
            dimension = size.dimension
            sizes = from_unscaled(dimension, prompts=prompts, context=context, task_count=count, test_context=tested)
            exact = solve(**sizes, tasks=at_dimension(spectrum, dimension))
            assert size.theory == pytest.approx(float(exact.m), rel=1e-12)

    def test_one_law_for_pretraining_and_test_is_compared_once(self):
        structured = {"tasks": TaskSpectrum.from_eigenvalues([2.0, 0.5], test=[1.0, 1.0])}
        for change in ({}, {"distinct_tasks": 1}, {"test_context_length": 3}, structured):
            found = validate(task_diversity=2, context_length=1, dimension=(4, 6), samples=3, **change)
            assert ("e_idg" in [row.quantity for row in found.rows]) == bool(change)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("kappa", "tau", "temperature"), [(0.5, 2.0, 0.0), (2.0, 0.5, 0.7), (2.0, 2.0, 0.0), (0.5, 1.0, 0.0)]
    )
    def test_pools_agree_in_extrapolation(self, kappa, tau, temperature):
        point = {"task_diversity": tau, "context_length": 1.5, "distinct_tasks": kappa, **NOISY}
        samples = simulate(**point, temperature=temperature, dimensions=(8, 12, 18, 28), samples=400, seed=1)
        found = compare(samples, largest_unseen_bias=0.3)
        print_rows(f"kappa {kappa:g}, tau {tau:g}, T {temperature:g}", found)
        assert found.passed, found.sentence
        # Twice a large pool changes too little for these many samples to see; half of it is seen.
        for factor in (0.5, 2) if kappa < 1 else (0.5,):
            assert compare(samples, theory=wrong_kappa(factor)).passed is False

    @pytest.mark.slow
    @pytest.mark.parametrize("kappa", [1.0, math.inf])
    def test_power_law_tasks_at_three_sizes(self, kappa):
        """Eigenvalues proportional to (k - 1/2)^-1, k = 1..6; tested on isotropic tasks."""
        spectrum = TaskSpectrum.power_law(1.0, size=6, test=np.ones(6))
        point = {"task_diversity": 1.5, "context_length": 2, "distinct_tasks": kappa, **NOISY}
        samples = simulate(**point, tasks=spectrum, dimensions=(12, 18, 30), samples=400, seed=6)
        found = compare(samples)
        print_rows(f"power law, kappa {kappa:g}", found)
        assert found.passed, found.sentence
        assert compare(replace(samples, parameters=samples.parameters.replaced(tasks=ISOTROPIC))).passed is False


def print_rows(title, found):
    rows = ", ".join(f"{row.quantity} {row.z:+.2f}" for row in found.rows)
    print(f"\n{title}: z = {rows}")
