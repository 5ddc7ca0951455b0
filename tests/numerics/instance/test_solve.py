"""One entry to every solver: it passes on what it is told, refuses the rest, and the solvers agree."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.instance.solve import METHODS, solve_instance
from iclglass.numerics.instance.spin_by_spin import published, tap
from iclglass.validation.prompts import draw_prompts

MEANS = 1e-10  # goal of issue: message passing and linear algebra agree on the means


@pytest.fixture(scope="module")
def data() -> Instance:
    return draw_prompts(dimension=5, context=10, prompts=2000, rng=np.random.default_rng(0))


def assert_same(one: InstanceSolution, two: InstanceSolution) -> None:
    assert one.method == two.method
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.variance, two.variance)
    assert (one.iterations, one.status) == (two.iterations, two.status)


def test_every_method_is_its_own_function(data):
    point = {"ridge0": 0.1, "beta": 2.0}
    rng = np.random.default_rng
    pairs = [
        (solve_instance(data, **point), gamp(data, **point)),
        (solve_instance(data, **point, damping=0.2, tolerance=1e-8), gamp(data, **point, damping=0.2, tolerance=1e-8)),
        (solve_instance(data, **point, method="exact", probes=4), exact(data, **point, probes=4)),
        (solve_instance(data, **point, method="tap", max_iterations=500), tap(data, **point, max_iterations=500)),
        (solve_instance(data, **point, method="published", rng=rng(3)), published(data, **point, rng=rng(3))),
    ]
    for one, two in pairs:
        assert_same(one, two)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_common_form(data, method):
    found = solve_instance(data, ridge0=0.1, beta=2.0, method=method)
    assert found.method == method
    assert isinstance(found.status, Status)
    assert found.mean.shape == found.variance.shape == found.variance_error.shape == (6, 6)
    assert not np.any(found.mean[:, 5])
    np.testing.assert_allclose(found.variance[:, 5], 1 / 0.2, 1e-12)
    assert found.history.shape == (found.iterations,)
    assert found.reason


def test_message_passing_has_the_exact_means(data):
    means = [solve_instance(data, ridge0=0.1, beta=2.0, method=method).mean for method in ("exact", "gamp")]
    np.testing.assert_allclose(means[1], means[0], rtol=0, atol=MEANS)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "amp"}, ParameterError, "method must be one of gamp, exact, tap, published"),
        ({"probes": 4}, ParameterError, "method 'gamp' takes no probes; its options are tolerance, max_iter"),
        ({"method": "exact", "damping": 0.5}, ParameterError, "method 'exact' takes no damping"),
        (
            {"method": "tap", "probes": 4, "rng": np.random.default_rng(0)},
            ParameterError,
            "method 'tap' takes no probes or rng",
        ),
        ({"beta": 0}, ParameterError, "beta must be finite and"),
        ({"beta": np.inf}, ParameterError, "beta must be finite"),
        ({"ridge0": -1.0}, ParameterError, "ridge0 must be finite and >= 0"),
        ({"ridge0": True}, ParameterTypeError, "ridge0 must be a real number"),
    ],
)
def test_bad_options_are_refused(data, change, error, message):
    with pytest.raises(error, match=message):
        solve_instance(data, **{"ridge0": 0.1, "beta": 1.0, **change})


def test_what_is_no_data_set_is_refused():
    with pytest.raises(ParameterTypeError, match="instance must be an Instance, got tuple; build one with"):
        solve_instance((1, 2, 3), ridge0=0.1, beta=1.0)
