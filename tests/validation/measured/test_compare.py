"""Measurements against the theory: rates of its verdicts, what tables may say, and what they may not."""

import csv
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import iclglass.validation.measured.compare as module
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.finite_size import solve_finite_points
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.plotting import draw_comparison, save_figure
from iclglass.numerics.saddle_point import solve
from iclglass.validation.measured.compare import compare
from iclglass.validation.statistics import bonferroni_threshold

POINTS = {"tau": [1.5, 2.0, 4.0], "alpha": [1.0, 2.0, 2.0]}
LAW = {"ridge": 0.1, "label_noise": 0.1, "quantity": "e_icl"}
RUNS = 4
TRUTH = solve(task_diversity=POINTS["tau"], context_length=POINTS["alpha"], ridge=0.1, label_noise=0.1).e_icl
# Two-sided chance that a count of 300 binomial trials is outside its limits though the rate is right.
CHANCE = 1e-4


def table(**more):
    """Three exact measurements; columns of one value are of all rows."""
    exact = {**POINTS, "mean": TRUTH, "standard_error": [0.01] * 3} | more
    return {name: values if len(values) == 3 else [*values] * 3 for name, values in exact.items()}


def drawn(rng, shift=0.0):
    """Means and standard deviations of a few runs, which scatter by 5 %, shifted by so many times that."""
    runs = TRUTH[:, None] * (1 + 0.05 * (rng.standard_normal((3, RUNS)) + np.reshape(shift, (-1, 1))))
    return {**POINTS, "mean": runs.mean(axis=1), "std": runs.std(axis=1, ddof=1), "runs": [RUNS] * 3}


def outside(failures, rate, trials=300):
    low, high = stats.binom.ppf([CHANCE / 2, 1 - CHANCE / 2], trials, rate)
    return not low <= failures <= high


def failures(rate):
    rng = np.random.default_rng(1)
    return sum(
        compare(drawn(rng), allow=0.0, false_alarm=rate, largest_unseen_bias=9.0, **LAW).passed is False
        for _ in range(300)
    )


def test_a_correct_theory_fails_at_the_stated_rate(monkeypatch):
    """300 sample sets of three independent rows with 4 samples each. The normal threshold fails twice as often."""
    rate = 0.2
    exact = 1 - (1 - rate / 3) ** 3  # Bonferroni's bound, were the rows as dependent as can be, is the rate
    assert not outside(failures(rate), exact)
    normal = lambda rate, number, dof=math.inf: bonferroni_threshold(rate, number)  # noqa: E731
    monkeypatch.setattr(module, "bonferroni_threshold", normal)
    assert outside(failures(rate), exact)


@pytest.mark.slow
def test_what_is_allowed_for_the_theory_and_its_own_error_hold_the_rate():
    """The theory is off by a normal error of the size that is allowed: errors in quadrature, thresholds between."""
    rng, rate = np.random.default_rng(2), 0.2
    failed = 0
    for _ in range(300):
        found = compare(
            drawn(rng, rng.standard_normal(3) * 0.3), allow=0.3 * 0.05, false_alarm=rate, largest_unseen_bias=9, **LAW
        )
        failed += found.passed is False
    assert failed <= stats.binom.ppf(1 - CHANCE, 300, rate)
    assert failed >= stats.binom.ppf(CHANCE, 300, rate / 3)  # the safe thresholds are not idle


def test_a_shift_of_the_theory_is_seen_as_promised():
    """By 1.5 of the smallest detectable bias it fails, by half of it it passes, by all of it it fails in 9 of 10."""
    rng, error, runs = np.random.default_rng(3), 0.02, 12
    columns = {"tau": [1.5], "alpha": [1.0], "mean": [TRUTH[0]], "sem": [error], "runs": [runs]}
    options = {"allow": 0.0, "largest_unseen_bias": 9.0, **LAW}
    bias = compare(columns, **options).rows[0].smallest_detectable_bias
    for share, passed in ((1.5, False), (0.5, True), (-0.5, True), (-1.5, False)):
        assert compare(columns | {"mean": [TRUTH[0] + share * bias]}, **options).passed is passed
    failed = 0
    for _ in range(300):
        samples = TRUTH[0] + bias + error * math.sqrt(runs) * rng.standard_normal(runs)
        measured = {"mean": [samples.mean()], "sem": [samples.std(ddof=1) / math.sqrt(runs)]}
        failed += compare(columns | measured, **options).passed is False
    assert not outside(failed, 0.9)


def test_verdicts():
    assert compare(table(), **LAW).passed is True
    off = compare(table(mean=TRUTH * [1, 1.3, 1]), **LAW)
    assert off.passed is False
    assert off.sentence.startswith("Measurements and theory disagree in row 2 (e_icl, z = +")
    weak = compare(table(standard_error=[1.0]), **LAW)
    assert weak.passed is None
    assert weak.sentence.startswith("Inconclusive: no row disagrees, but a bias of more than 25 %")
    told = compare(table(standard_error=[0.01, 1.0, 1.0]), **LAW)
    assert told.passed is True
    assert "2 rows alone could not have seen one of 25 %" in told.sentence


def test_threshold_is_students_with_the_degrees_of_freedom_of_the_runs():
    rows = compare(table(runs=[4, 20, 2000]), allow=0.0, **LAW).rows
    assert [row.limit for row in rows] == [pytest.approx(stats.t.ppf(1 - 0.01 / 6, runs - 1)) for runs in (4, 20, 2000)]
    assert compare(table(), allow=0.0, **LAW).rows[0].limit == pytest.approx(stats.norm.ppf(1 - 0.01 / 6))


def test_rows_are_taken_at_their_dimension_and_a_difference_is_one():
    names = {"P": [200], "N": [20], "K": [5], "D": [10], "mean": [0.5], "standard_error": [0.1]}
    found = compare({**names, "quantity": ["e_icl - e_idg"]}, label_noise=0.1, ridge=0.1)
    exact = solve(dimension=10, task_diversity=2.0, context_length=2.0, distinct_tasks=0.5, label_noise=0.1, ridge=0.1)
    row = found.rows[0]
    assert row.theory == pytest.approx(float(exact.e_icl - exact.e_idg), rel=1e-12)
    errors = exact.standard_errors
    assert row.theory_error == pytest.approx(float(errors["e_icl"] + errors["e_idg"]), rel=1e-12)
    assert found.defaults == {"last_feature": "unit-tokens"}


def test_counts_of_programs_are_rounded_down():
    columns = {"tau": [2.0], "alpha": [1.0], "kappa": [0.8], "D": [8], "mean": [1.0], "sem": [1.0]}
    point = {"dimension": 8, "task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1}
    for rounding, tasks in (("nearest", 6), ("down", 6)):
        found = compare(columns, quantity="e_idg", ridge=0.1, rounding=rounding)
        assert found.rows[0].theory == float(solve(**point, distinct_tasks=tasks / 8).e_idg)
    columns["kappa"] = [0.95]  # 7.6
    down = compare(columns, quantity="e_idg", ridge=0.1, rounding="down")
    assert down.rows[0].theory == float(solve(**point, distinct_tasks=7 / 8).e_idg)
    assert down.fixed["rounding"] == "down"


def test_pools_on_the_sphere():
    columns = {"tau": [2.0], "alpha": [2.0], "kappa": [0.5], "D": [8], "mean": [0.3], "sem": [0.1]}
    found = compare(columns, quantity="e_idg", ridge=0.1, pool="sphere").rows[0]
    point = Parameters(dimension=8, task_diversity=2.0, context_length=2.0, distinct_tasks=0.5, ridge=0.1)
    assert found.theory == float(solve_finite_points(point, pool_law="sphere").e_idg)
    assert found.theory != float(solve_finite_points(point).e_idg)
    with pytest.raises(ParameterError, match="pool = 'sphere' with distinct_tasks = inf"):
        compare({**columns, "kappa": ["inf"]}, quantity="e_idg", pool="sphere")


def test_csv_round_trip(tmp_path):
    """What is written can be compared again, says the same, and holds every number to the last bit."""
    source, out, again = tmp_path / "given.csv", tmp_path / "out.csv", tmp_path / "again.csv"
    source.write_text('\ufeffalpha,tau,mean,err,author\n1,1.5,0.9,0.02,"A, B"\n2,4,0.5,0.01,C\n', encoding="utf-8")
    found = compare(source, columns={"err": "standard_error"}, **LAW)
    assert found.table.unused == ("author",)
    found.write(out)
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["author"] for row in rows] == ["A, B", "C"]
    assert [float(row["z"]) for row in rows] == [row.z for row in found.rows]
    assert [float(row["theory"]) for row in rows] == [row.theory for row in found.rows]
    compare(out, columns={"err": "standard_error"}, **LAW).write(again)
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        found.write(out)


def test_a_data_frame_and_columns_are_the_same():
    frame = pd.DataFrame(table())
    assert compare(frame, **LAW).to_dict() == compare(table(), **LAW).to_dict()


def test_rows_without_theory_and_repeated_ones_are_left_out_and_said():
    columns = table(tau=[1.5, 1.5, 1.0], alpha=[1.0], mean=[TRUTH[0]], lam=[0.1, 0.1, 0])
    found = compare(columns, label_noise=0.1, quantity="e_icl")
    assert [bool(row.left_out) for row in found.rows] == [False, True, True]
    assert found.passed is True
    assert "rows 2 (repeats row 1" not in found.sentence
    assert "row 2 (repeats row 1, which counts once)" in found.sentence
    assert "row 3 (diverges" in found.sentence
    entropy = compare(table(), **{**LAW, "quantity": "entropy"})
    assert entropy.passed is None
    assert "none of 3 measurements could be compared" in entropy.sentence


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"tau": None}, {}, "column task_diversity is missing .*columns found: alpha, mean, standard_error"),
        ({"mean": None}, {}, "column mean is missing"),
        ({"standard_error": None}, {}, "column standard_deviation is missing: give standard_error"),
        ({"standard_error": None, "std": [1.0]}, {}, "column runs is missing"),
        ({}, {"quantity": None}, "column quantity is missing"),
        ({"mean": [1, "x", 2]}, {}, "mean = 'x' in row 2 is not a number"),
        ({"mean": [1, math.nan, 2]}, {}, "mean = 'nan' in row 2 must be finite"),
        ({"mean": [1, "", 2]}, {}, "mean is empty in row 2"),
        ({"alpha": [1, 1, -1]}, {}, "alpha = '-1' in row 3: context_length = -1.0 must be finite and > 0"),
        ({"D": [8, 8.5, 8]}, {}, "D = '8.5' in row 2: dimension = 8.5 must be a whole number"),
        ({"standard_error": [1, 0, 1]}, {}, "standard_error = '0' in row 2 must be > 0"),
        ({"standard_error": None, "std": [1], "runs": [2, 1, 2]}, {}, "runs = '1' in row 2: one run has no standard"),
        ({"standard_error": None, "std": [1], "runs": [2, 2.5, 2]}, {}, "runs = '2.5' in row 2 must be a whole number"),
        ({"N": [4]}, {}, "N and context_length say the same"),
        ({"alpha": None, "N": [4]}, {}, "column dimension is missing: N is in units of it"),
        ({"context_length": [1]}, {}, "columns 'alpha' and 'context_length' both say context_length"),
        ({"rho": [0.1]}, {}, "label_noise is given, and is column 'rho', too"),
        ({"rigde": [0.1]}, {}, "column 'rigde' is unknown; did you mean 'ridge'"),
        ({}, {"columns": {"err": "mean"}}, "there is no column 'err'; columns found"),
        ({"err": [1]}, {"columns": {"err": "meen"}}, "a column cannot say 'meen'; did you mean 'mean'"),
        ({}, {"quantity": "e_ilc"}, "no quantity 'e_ilc'; did you mean 'e_icl'"),
        ({"loss": ["log_loss"]}, {}, "log_loss"),
        ({"last_row": ["maybe"]}, {}, "last_row = 'maybe' in row 1 must be true or false"),
    ],
)
def test_bad_tables(change, options, words):
    columns = table(**{name: values or [0] for name, values in change.items()})
    columns = {name: values for name, values in columns.items() if change.get(name, values) is not None}
    with pytest.raises(ParameterError, match=words):
        compare(columns, **{**LAW, **options})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ParameterError, "holds nothing"),
        ("tau,alpha\n", ParameterError, "holds no measurements"),
        ("tau,tau\n1,2\n", ParameterError, "two columns are called 'tau'"),
        ("tau,alpha\n1\n", ParameterError, "row 1 has 1 values for 2 columns"),
        ('tau,alpha\n"1,2\n', OutputError, "is not a csv file"),
        (b"\xff\xfe\x00", OutputError, "is not a csv file in UTF-8"),
        (None, OutputError, "does not exist"),
    ],
)
def test_bad_files(text, error, words, tmp_path):
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=words):
        compare(path)


def test_the_picture(tmp_path):
    found = compare(table(quantity=["e_icl", "m", "e_icl"]), **{**LAW, "quantity": None})
    save_figure(draw_comparison(found), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    with pytest.raises(TypeError, match="comparison must be an xarray"):
        draw_comparison([1.0])


def test_numbers_of_another_group():
    """e_icl - e_idg at D = 32, tau = alpha = 10 (Pehlevan-Group/incontext-asymptotics-experiments, 20 runs).

    Their pools lie on the sphere, and K = int(kappa D): 12 and 25, not 13 and 26. Both matter.
    """
    columns = {"kappa": [0.4, 0.8], "mean": [0.74981, 0.32598], "std": [0.03079, 0.01015], "runs": [20, 20]}
    law = {"dimension": 32, "task_diversity": 10, "context_length": 10, "label_noise": 0.01, "ridge": 1e-6}
    law |= {"last_feature": "scaled-tokens", "quantity": "e_icl - e_idg"}
    assert compare(columns, pool="sphere", rounding="down", **law).passed is True
    assert compare(columns, pool="sphere", **law).passed is False


def test_correlated_tokens():
    """Published values at D = 32 (Pehlevan-Group/sequential-correlations-in-context-regression, 20 runs).

    As D -> infinity correlated tokens are fewer independent ones; a query that continues them has no theory.
    """
    columns = {"token_correlation": [0, 10, 10], "correlated_query": ["True", "False", "True"]}
    columns |= {"mean": [0.309131, 1.042589, 0.702796], "std": [0.007151, 0.022730, 0.011124], "runs": [20] * 3}
    law = {"P": [4096] * 3, "N": [128] * 3, "K": [320] * 3, "D": [32] * 3}
    more = {"quantity": "e_icl", "label_noise": 0.01}
    asymptotic = {"tau": [4.0] * 3, "alpha": [4.0] * 3, "kappa": [10.0] * 3}
    found = compare({**columns, **asymptotic}, ridge=0, **more)
    assert "row 3 (no theory: correlated tokens with a query that continues" in found.sentence
    effective = 4 * 1.01 / (1 / np.tanh(0.1) + 0.01)
    expected = solve(task_diversity=4, context_length=effective, distinct_tasks=10, label_noise=0.01, ridge=0).e_icl
    assert found.rows[1].theory == pytest.approx(float(expected), rel=1e-12)
    assert found.passed is False  # 1/D corrections
    small = {**columns, **law, "K": [8] * 3}  # of fewer tasks than theirs, which take a minute
    assert [math.isfinite(row.theory) for row in compare(small, ridge=1e-8, **more).rows] == [True, True, False]
    for value, words in (("-1", "must be a length >= 0"), ("x", "is not a number")):
        with pytest.raises(ParameterError, match=words):
            compare({**columns, **asymptotic, "token_correlation": [0, 1, value]}, **more)
