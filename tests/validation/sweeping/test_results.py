"""Results: labels, flags, counts, provenance, digest, files, and theory against simulation with its false alarms."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from iclglass.numerics.deviations import z_scores
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting import draw_sweep, save_figure
from iclglass.numerics.running.store import Row
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, load, save
from iclglass.validation.sweeping.evaluation import columns, evaluate, refuse_undrawable
from iclglass.validation.sweeping.results import DIGEST, FAILURES, compare, digest, to_dataset
from tests.numerics.test_storage import assert_same_bits
from tests.validation.sweeping.workloads import grid_of

GRID = {"task_diversity": [0.5, 1.0, 2.0], "context_length": [1.0, 2.0], "ridge": 0.3, "dimension": 6}
SEEDS = 200


@pytest.fixture(scope="module")
def grid():
    return grid_of(**GRID, samples=3, theory=True, seed=4)


@pytest.fixture(scope="module")
def done(grid):
    """Four good points, one that failed, one that is missing."""
    found = {number: evaluate(point) for number, point in enumerate(grid.points[:4])}
    wrong = np.ones(len(columns("simulation", theory=True)))  # a number that must not be seen
    return found | {4: Row(wrong, int(Status.FAILED), "ValueError: no", 0.1)}


@pytest.fixture(scope="module")
def dataset(grid, done):
    return to_dataset(grid, done)


# --- labels ----------------------------------------------------------------------------------------------------


def test_values_are_at_their_coordinates(grid, done, dataset):
    assert dict(dataset.sizes) == {"task_diversity": 3, "context_length": 2}
    names = columns("simulation", theory=True)
    for number, point in enumerate(grid.points[:4]):
        here = dataset.sel(task_diversity=point.task_diversity, context_length=point.context_length)
        assert [float(here[name]) for name in names] == pytest.approx(done[number].values, rel=0, abs=0, nan_ok=True)
    assert float(dataset.ridge) == 0.3
    assert dataset.ridge.dims == ()


def test_a_failed_or_missing_point_is_nan_with_a_status(dataset):
    assert dataset.status.values.tolist() == [[0, 0], [0, 0], [Status.FAILED, Status.LOST]]
    for name in columns("simulation", theory=True):
        number, lost = dataset[name].values[2]
        assert math.isnan(lost), name
        assert math.isnan(number) != name.endswith("_theory"), name  # the theory does not fail with what was drawn
    assert json.loads(dataset.attrs[FAILURES]) == [{"index": 4, "status": "failed", "message": "ValueError: no"}]


def test_cf_flags_units_and_ancillary_variables(dataset):
    flags = dataset.status.attrs
    assert flags["flag_values"].dtype == dataset.status.dtype == np.int8
    assert dict(zip(flags["flag_values"].tolist(), flags["flag_meanings"].split(), strict=True)) == {
        status.value: status.name.lower() for status in Status
    }
    assert dataset.attrs["Conventions"].startswith("CF-")
    for name, variable in dataset.variables.items():
        assert variable.attrs["units"] == "1", name
        assert variable.attrs["long_name"], name
        for other in variable.attrs.get("ancillary_variables", "").split():
            assert other in dataset, (name, other)
    assert dataset.e_icl.attrs["ancillary_variables"] == "e_icl_standard_error e_icl_theory status"
    assert "ancillary_variables" not in dataset.e_icl_theory.attrs


def test_counts_are_the_integers_used():
    points = grid_of(task_diversity=[1.0, 2.0], context_length=1.6, distinct_tasks=2.0, dimension=6, samples=5)
    found = to_dataset(points, {})
    assert found.prompts.values.tolist() == [36, 72]
    assert found.context.values.tolist() == [10, 10]
    assert found.task_count.values.tolist() == [12, 12]
    assert found.seed_count.values.tolist() == [5, 5]
    own = to_dataset(grid_of(task_diversity=[1.0, 2.0], context_length=1.6, dimension=6), {})
    assert own.task_count.values.tolist() == own.prompts.values.tolist()
    assert {found[name].dtype for name in ("prompts", "context", "task_count", "seed_count")} == {np.dtype(np.int64)}
    assert "prompts" not in to_dataset(grid_of(task_diversity=1.0, context_length=1.0, road="theory"), {})


def test_provenance_says_all_that_the_numbers_follow_from(grid, dataset):
    record = json.loads(dataset.attrs[PROVENANCE])
    assert record["parameters"] == json.loads(json.dumps(grid.parameters))
    assert record["seed"] == 4
    assert {"python", "numpy", "scipy", "iclglass"} <= set(record["versions"])


def test_a_grid_of_one_point_and_one_of_seven_axes():
    one = grid_of(task_diversity=1.0, context_length=1.0, dimension=4)
    assert to_dataset(one, {0: evaluate(one.points[0])}).e_icl.shape == ()
    many = grid_of(
        task_diversity=[1.0, 2.0],
        context_length=[1.0],
        distinct_tasks=[1.0, np.inf],
        label_noise=[0.0, 0.1],
        ridge=[0.1, 0.2],
        temperature=[0.1, 0.2],
        test_context_length=[1.0, 2.0],
        dimension=[4, 5],
    )
    assert to_dataset(many, {}).e_icl.shape == (2, 1, 2, 2, 2, 2, 2, 2)


# --- digest and files ------------------------------------------------------------------------------------------


def test_the_digest_is_of_the_numbers_and_not_of_the_attributes(dataset):
    found = dataset.attrs[DIGEST]
    assert len(found) == 64
    other = dataset.copy(deep=True)
    other.attrs = {"title": "another"}
    for variable in other.variables.values():
        variable.attrs = {}
    assert digest(other) == found
    assert digest(dataset[sorted(dataset.data_vars, reverse=True)]) == found


def test_every_bit_name_shape_and_type_is_in_the_digest(dataset):
    found = {digest(dataset)}

    def changed(name, change):
        other = dataset.copy(deep=True)
        change(other[name].values)
        return digest(other)

    def up(values):
        values[0, 0] = np.nextafter(values[0, 0], 9.0)

    def one_more(values):
        values[0, 0] += 1

    for name in ("m", "e_icl_standard_error", "e_icl_theory"):
        found.add(changed(name, up))
    found.add(changed("status", one_more))
    found.add(digest(dataset.assign_coords(ridge=0.4)))
    found.add(digest(dataset.rename(m="n")))
    found.add(digest(dataset.drop_vars("m")))
    found.add(digest(dataset.transpose()))
    found.add(digest(dataset.assign(m=dataset.m.astype(np.float32))))
    assert len(found) == 10


def test_a_result_survives_its_file_bit_for_bit(tmp_path, dataset):
    """R5: dtype, NaN, infinities, attributes; the digest too, and it can be computed again from the file."""
    ridgeless = grid_of(task_diversity=[0.5, 2.0], context_length=1.0, ridge=0.0, dimension=6, theory=True)
    infinite = to_dataset(ridgeless, {number: evaluate(point) for number, point in enumerate(ridgeless.points)})
    assert np.isinf(infinite.chi.values).any()
    assert np.isnan(infinite.entropy.values).any()
    for number, one in enumerate((dataset, infinite)):
        save(one, tmp_path / f"{number}.nc")
        found = load(tmp_path / f"{number}.nc")
        assert_same_bits(found, one)
        assert digest(found) == found.attrs[DIGEST] == one.attrs[DIGEST]


# --- simulation against theory ---------------------------------------------------------------------------------


def made_up(mean, theory, error, seeds):
    mean, theory, error = np.broadcast_arrays(mean, theory, error)
    dims = ("x",) if mean.ndim else ()
    return xr.Dataset(
        {
            "m": (dims, mean),
            "m_theory": (dims, theory),
            "m_standard_error": (dims, error),
            "seed_count": (dims, np.full(mean.shape, seeds)),
            "status": (dims, np.zeros(mean.shape, dtype=np.int8)),
        }
    )


@pytest.mark.parametrize("seeds", [2, 3, 8, 64])
def test_z_is_the_normal_deviate_of_students_probability(seeds):
    t = np.array([-9.0, -2.0, -0.3, 0.0, 0.3, 2.0, 9.0])
    found = z_scores(made_up(1 + 0.1 * t, 1.0, 0.1, seeds), "m")
    expected = np.sign(t) * stats.norm.isf(stats.t.sf(np.abs(t), df=seeds - 1))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_z_is_nan_where_nothing_can_be_compared():
    one = made_up(np.array([1.0, np.nan, 1.0, 1.0, np.inf]), 1.0, np.array([0.1, 0.1, np.nan, 0.0, np.nan]), 8)
    assert np.isnan(z_scores(one, "m")).tolist() == [False, True, True, True, True]
    assert np.isnan(z_scores(one, "q")).all()
    assert compare(one)[0].points == 1
    assert compare(one.drop_vars("m_theory")) == []


def test_rounding_of_what_is_zero_is_no_deviation():
    """Without ridge and with fewer prompts than spins e_train is 0, and 1e-30 in the arithmetic."""
    one = xr.Dataset({"m": 1e-30, "m_theory": 0.0, "m_standard_error": 1e-32, "seed_count": 8, "status": 0})
    assert np.isnan(z_scores(one, "m"))
    one["m"] = 1e-3
    assert z_scores(one, "m") > 6


def test_a_deviation_beyond_floating_point_is_the_largest_and_not_left_out():
    found = compare(made_up(np.array([1.0, 2.0]), 1.0, np.array([0.1, 0.001]), 10**6))[0]
    assert (found.points, found.within_two, found.largest) == (2, 0.5, math.inf)


def test_the_comparison_by_hand():
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((500, 6))
    error = samples.std(axis=1, ddof=1) / math.sqrt(6)
    found = compare(made_up(samples.mean(axis=1), 0.0, error, 6))[0]
    p = stats.ttest_1samp(samples, 0.0, axis=1).pvalue
    z = stats.norm.isf(p / 2)
    assert (found.quantity, found.points) == ("m", 500)
    assert np.any((z > 2) & (z < 2.5))
    assert found.within_two == pytest.approx(np.mean(z < 2))
    assert found.largest == pytest.approx(z.max())
    assert found.limit == pytest.approx(stats.norm.isf(0.01 / 500 / 2))


@pytest.fixture(scope="module")
def many_seeds():
    grid = grid_of(
        task_diversity=[0.5, 1.5, 3.0], context_length=[1.0, 2.0], ridge=0.5, dimension=8, samples=SEEDS, theory=True
    )
    return to_dataset(grid, {number: evaluate(point) for number, point in enumerate(grid.points)})


@pytest.mark.slow
def test_simulation_agrees_with_theory_and_a_theory_that_is_wrong_by_five_percent_is_caught(many_seeds):
    """False alarm: 1 % for each quantity by `compare`; 1/D^2 terms are 1e-3 of the values, errors about 1e-2."""
    good = {row.quantity: row for row in compare(many_seeds)}
    for name in ("m", "q", "e_icl", "e_train", "free_energy"):
        assert good[name].points == 6
        assert good[name].largest < good[name].limit, name
        wrong = many_seeds.assign({f"{name}_theory": many_seeds[f"{name}_theory"] * 1.05})
        caught = next(row for row in compare(wrong) if row.quantity == name)
        assert caught.largest > caught.limit, name


def test_z_includes_the_sampling_error_of_the_theory():
    """A theory with a standard error of its own, as large as the simulation's: z is standard normal, not of variance 2.

    400 sweeps of one point; the sum of squares is chi-square with 400 degrees of freedom, |its deviate| < 4 but once in
    16000. The theory's error has 11 degrees of freedom, as that of the fewest pools.
    """
    rng, error, samples = np.random.default_rng(31), 0.02, 64
    z = []
    for _ in range(400):
        drawn = 1 + error * math.sqrt(samples) * rng.standard_normal(samples)
        pools = 1 + error * math.sqrt(12) * rng.standard_normal(12)
        one = xr.Dataset(
            {
                "m": drawn.mean(),
                "m_standard_error": drawn.std(ddof=1) / math.sqrt(samples),
                "m_theory": pools.mean(),
                "m_theory_standard_error": pools.std(ddof=1) / math.sqrt(12),
                "seed_count": samples,
            }
        )
        z.append(float(z_scores(one, "m")))
    assert abs(np.sum(np.square(z)) - 400) / math.sqrt(800) < 4
    without = one.drop_vars("m_theory_standard_error")
    assert abs(z_scores(without, "m")) > abs(z_scores(one, "m"))


def test_few_pools_widen_the_limit_as_few_data_sets_do():
    """All of the error is the theory's, with 11 degrees of freedom: t = 3 has the probability of Student's law."""
    one = xr.Dataset(
        {"m": 1.3, "m_standard_error": 1e-9, "m_theory": 1.0, "m_theory_standard_error": 0.1, "seed_count": 10**6}
    )
    assert z_scores(one, "m") == pytest.approx(stats.norm.isf(stats.t.sf(3, 11)), rel=1e-6)


@pytest.mark.parametrize("lengths", [1.0, [1.0, 2.0]])
def test_failed_points_and_single_data_sets_are_drawn_without_a_warning(lengths, tmp_path):
    given = {"task_diversity": [0.5, 1.0, 2.0], "context_length": lengths, "dimension": 6}
    grid = grid_of(**given, samples=1, theory=True)
    done = {number: evaluate(point) for number, point in enumerate(grid.points[1:], start=1)}
    for number, dataset in enumerate((to_dataset(grid, done), to_dataset(grid, {}))):
        save_figure(draw_sweep(dataset), tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000
    assert len(draw_sweep(to_dataset(grid_of(**given, road="theory"), {})).axes) >= 1


@pytest.mark.parametrize(
    ("road", "observable", "given", "message"),
    [
        ("message-passing", "entropy", {"ridge": np.ones(2)}, "gives no 'entropy'"),
        ("sampling", "e_train", {"ridge": np.ones(2)}, "gives no 'e_train'"),
        ("simulation", "e_icl", {"ridge": 0.1}, "one or two axes, not 0"),
        ("simulation", "e_icl", dict.fromkeys("abc", np.arange(2.0)), "one or two axes, not 3"),
        ("simulation", "e_icl", {"ridge": np.ones(1), "task_diversity": np.arange(3.0)}, "needs two values"),
        ("simulation", "e_icl", {"ridge": np.ones(2), "temperature": 0.1}, None),
        ("training", "energy", {"ridge": np.arange(2.0), "task_diversity": np.arange(3.0)}, None),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(road, observable, given, message):
    if message is None:
        refuse_undrawable(road, observable, given)
        return
    with pytest.raises(ParameterError, match=message):
        refuse_undrawable(road, observable, given)
