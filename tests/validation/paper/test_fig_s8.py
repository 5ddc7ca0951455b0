"""SG Fig. S8: each architecture against explicit formulas, the prompts, the verdict, what is said without PyTorch."""

import sys

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.validation.paper import architectures, fig_s8
from iclglass.validation.paper.architectures import ARCHITECTURES, draw_tokens, initial_weights, predict
from iclglass.validation.paper.published import read_published
from iclglass.validation.paper.reproduce import reproduce
from iclglass.validation.paper.simulating import in_turn
from iclglass.validation.population import population_error

# Single precision, sums of 50 terms of order one.
SINGLE = 2e-5
SIZE, CONTEXT, HEADS = 5, 7, 3
# Prompts drawn 40000 times: five standard errors, by chance once in 2e6.
SAMPLES, ERRORS = 40_000, 5


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def data():
    return draw_tokens(dimension=SIZE, context=CONTEXT, prompts=6, rngs=[np.random.default_rng(k) for k in (1, 2)])


def weights_of(name):
    weights = initial_weights(name, dimension=SIZE, heads=HEADS, rngs=[np.random.default_rng(k) for k in (3, 4)])
    if name == "TF":  # what starts at 0 or 1 must be seen to act
        rng = np.random.default_rng(5)
        for part in weights:
            if part.startswith(("gain", "shift")) or part.endswith("bias"):
                weights[part] = weights[part] + rng.normal(size=weights[part].shape).astype(np.float32)
    return weights


def answers(torch, name, weights, tokens):
    return predict(name, {part: torch.tensor(w) for part, w in weights.items()}, torch.tensor(tokens)).numpy()


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def standard(token, gain, shift):
    return (token - token.mean()) / np.sqrt(token.var() + 1e-5) * gain + shift


def written_out(name, w, prompt):
    """One answer from Z, (D+1) x (N+1), one column a token, in double precision."""
    if name == "SLA":
        return prompt[-1] @ prompt.T @ w["merged"] @ prompt[:-1, -1] / prompt.shape[1]
    seen = prompt
    if name == "TF":
        seen = np.array([standard(token, w["gain_1"], w["shift_1"]) for token in prompt.T]).T
    outputs = []
    for key, query, value in zip(w["key"], w["query"], w["value"], strict=True):
        scores = (key @ seen).T @ (query @ seen[:, -1])
        shares = softmax(scores / np.sqrt(len(key))) if name in ("SA", "TF") else scores / prompt.shape[1]
        outputs.append(value @ seen @ shares)
    added = np.concatenate(outputs)
    state = prompt[:, -1] + (w["output"] @ added if "output" in w else added)
    if name == "TF":
        hidden = w["up"] @ standard(state, w["gain_2"], w["shift_2"]) + w["up_bias"]
        state = state + w["down"] @ (hidden * (1 + erf(hidden / np.sqrt(2))) / 2) + w["down_bias"]
    return state[-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_are_those_of_the_formulas(torch, data, name):
    weights = weights_of(name)
    found = answers(torch, name, weights, data.tokens)
    for replica in range(2):
        ours = {part: values[replica].astype(float) for part, values in weights.items()}
        expected = [written_out(name, ours, tokens.T.astype(float)) for tokens in data.tokens[replica]]
        np.testing.assert_allclose(found[replica], expected, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_order_of_the_context_does_not_matter_its_labels_do(torch, data, name):
    weights = weights_of(name)
    found = answers(torch, name, weights, data.tokens)
    order = np.r_[np.random.default_rng(6).permutation(CONTEXT), CONTEXT]
    np.testing.assert_allclose(answers(torch, name, weights, data.tokens[:, :, order]), found, rtol=SINGLE, atol=SINGLE)
    flipped = data.tokens.copy()
    flipped[..., -1] *= -1
    assert np.min(np.abs(answers(torch, name, weights, flipped) - found)) > SINGLE


def test_merged_weights_are_those_of_the_theory(torch, data):
    weights = weights_of("SLA")
    found = answers(torch, "SLA", weights, data.tokens)
    for replica in range(2):
        expected = data.instance(replica).features.predict(weights["merged"][replica].astype(float))
        np.testing.assert_allclose(found[replica], expected, rtol=SINGLE, atol=SINGLE)


def test_all_weights_and_several_heads_contain_the_merged_layer(torch, data):
    """W = W_k^T W_q with W_v that reads the label; in heads, row by row of W."""
    merged = weights_of("SLA")
    expected = answers(torch, "SLA", merged, data.tokens)
    full = {part: np.zeros_like(values) for part, values in weights_of("FLA").items()}
    full["key"][:, 0] = np.eye(SIZE + 1)
    full["query"][:, 0, :, :-1] = merged["merged"]
    full["value"][:, 0, -1, -1] = 1
    np.testing.assert_allclose(answers(torch, "FLA", full, data.tokens), expected, rtol=SINGLE, atol=SINGLE)
    heads = {part: np.zeros_like(values) for part, values in weights_of("MHLA").items()}
    depth = heads["key"].shape[2]
    for row in range(SIZE + 1):
        head, place = divmod(row, depth)
        heads["key"][:, head, place, row] = 1
        heads["query"][:, head, place, :-1] = merged["merged"][:, row]
        heads["value"][:, head, 0, -1] = 1
        heads["output"][:, -1, head * depth] = 1
    np.testing.assert_allclose(answers(torch, "MHLA", heads, data.tokens), expected, rtol=SINGLE, atol=SINGLE)


def test_prompts_have_the_law_of_the_population():
    """Mean square of the label, and of the error of W = I and of the last row, against exact moments."""
    data = draw_tokens(dimension=4, context=3, prompts=SAMPLES, rngs=[np.random.default_rng(7)])
    instance, moments = data.instance(0), fig_s8._moments(4, 3)
    last = np.zeros((5, 4))
    last[-1] = 0.5
    for weights in (np.zeros((5, 4)), np.eye(5, 4), last):
        squares = (instance.label - instance.features.predict(weights)) ** 2
        error = squares.std() / np.sqrt(SAMPLES)
        assert abs(squares.mean() - population_error(weights, moments)) < ERRORS * error


def test_what_cannot_be_beaten():
    """Least squares for the least error of merged weights; the projection of X for the posterior mean."""
    for size, context in ((4, 3), (10, 40)):
        moments = fig_s8._moments(size, context)
        least = moments.label - np.sum(moments.signal * np.linalg.solve(moments.second, moments.signal))
        np.testing.assert_allclose(fig_s8.best_merged(size, np.array([context])), least, rtol=1e-12)
    rng = np.random.default_rng(8)
    squares = []
    for _ in range(2000):
        tokens, task, query = rng.normal(size=(3, 8)), rng.normal(size=8), rng.normal(size=8)
        estimate = np.linalg.lstsq(tokens, tokens @ task, rcond=None)[0]  # of least norm: the posterior mean
        squares.append((query @ (task - estimate)) ** 2 / 8)
    error = np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - fig_s8.noiseless_error(8, np.array(3))) < ERRORS * error


@pytest.mark.slow
def test_training_follows_the_theorys_energy(torch):
    """It ends at the least of the energy with lambda0 = weight_decay/2, each replica's own."""
    data = draw_tokens(dimension=3, context=6, prompts=64, rngs=[np.random.default_rng(k) for k in (1, 2)])
    start = initial_weights("SLA", dimension=3, heads=1, rngs=[np.random.default_rng(k) for k in (3, 4)])
    with architectures.one_thread():
        found = architectures.trained(
            "SLA", data, start=start, steps=500, batch=64, learning_rate=0.05, weight_decay=0.1, seed=0
        )
    for replica in range(2):
        expected = ground_state(data.instance(replica), 0.05)
        np.testing.assert_allclose(found["merged"][replica], expected, atol=1e-4)
    errors = architectures.squared_errors("SLA", found, data)
    residual = data.instance(1).label - data.instance(1).features.predict(found["merged"][1].astype(float))
    np.testing.assert_allclose(errors[1], residual**2, rtol=1e-3, atol=SINGLE)


SMALL = {
    **fig_s8.parameters("quick"),
    "dimension": 5,
    "weight_decay": 1.0,  # so that the theory's ridge is seen
    "prompts": 1000,
    "context": (4, 10),
    "learning_rate": 0.05,
    "steps": 300,
    "fresh_prompts": 2000,
    "repeats": 4,
    "together": 2,
}


@pytest.fixture(scope="module")
def simulated():
    pytest.importorskip("torch")
    return fig_s8.simulate(SMALL, 1, in_turn)


@pytest.mark.slow
def test_verdict(simulated):
    verdict = fig_s8.judge(simulated, {})
    assert verdict.agrees is not False, verdict  # so few data sets need not see a bias of 25 %
    assert any("no error is below" in remark for remark in verdict.remarks)
    assert fig_s8.judge(simulated.assign(SLA=simulated.SLA * 1.2), {}).agrees is False
    wrong = fig_s8.judge(simulated.assign(TF=simulated.TF * 0), {})
    assert wrong.agrees is False
    assert any(remark.startswith("TF at N = 4 ") for remark in wrong.remarks)


def test_every_repeat_and_both_uses_have_prompts_of_their_own():
    law = (SMALL["dimension"], 2, 1)
    first, other = ([fig_s8._draw(*law, use, 4, group) for use in (0, 1)] for group in (range(2), range(1, 2)))
    np.testing.assert_array_equal(first[0].label[1:], other[0].label)
    np.testing.assert_array_equal(first[1].label[1:], other[1].label)
    labels = np.concatenate([data.label.ravel() for data in first])
    assert np.unique(labels).size == labels.size


def made_up(size=20, prompts=10_000, context=(10, 40)):
    rng = np.random.default_rng(9)
    theory = fig_s8._theory(size, prompts, np.array(context), 5e-4)
    values = {name: theory[:, None] * rng.normal(1, 0.01, (2, 5)) for name in (*fig_s8._CURVES, "exact", "SLA_fresh")}
    return xr.Dataset(
        {name: (("context", "repeat"), value) for name, value in values.items()},
        coords={"context": list(context)},
        attrs={"dimension": size, "prompts": prompts, "weight_decay": 1e-3},
    )


def arrays_of(curve, *arrays):
    return {f"fig-S8/data/{curve}_{kind}.npy": a for kind, a in zip(("N", "mean", "std"), arrays, strict=True)}


def test_published_errors_are_compared_where_they_fit():
    data = made_up()
    verdict = fig_s8.judge(data, {})
    assert verdict.agrees, verdict
    assert fig_s8.judge(data.assign(exact=data.exact * 1.1), {}).agrees is False
    assert verdict.sentence.count("allowed") == 2
    arrays = {
        **arrays_of("SA", np.array([10.0, 20.0]), np.array([0.5, 0.4]), np.array([0.1, 0.1])),
        **arrays_of("SLA", np.array([40]), np.array([0.3]), np.array([0.05])),
        **arrays_of("TF", np.arange(3), np.ones(2), np.ones(3)),
    }
    with_theirs = fig_s8.judge(data, arrays)
    rows = [row for row in with_theirs.rows if "published" in row[0]]
    assert [row[:1] + row[2:3] for row in rows] == [("SLA, N=40: published", 0.3), ("SA, N=10: published", 0.5)]
    assert with_theirs.agrees  # theirs do not decide
    mean, error = fig_s8._mean(data, "SA")
    np.testing.assert_allclose(rows[1][4], (mean[0] - 0.5) / np.hypot(error[0], 0.1 / np.sqrt(50)))
    theory = fig_s8._theory(20, 10_000, np.array([40]), 0.005)[0]
    z = (0.3 - theory) / (0.05 / np.sqrt(50))
    assert any(f"deviations {z:+.1f} to" in remark for remark in with_theirs.remarks)
    assert not any("TF" in row[0] for row in with_theirs.rows)
    labels = fig_s8.draw(data, arrays).axes[0].get_legend_handles_labels()[1]
    assert [label for label in labels if "published" in label] == ["SLA, published", "SA, published"]


def test_what_is_judged_is_drawn():
    data = made_up()
    judged = fig_s8.draw(data, {}).axes[1]
    rows = {row[0]: row for row in fig_s8.judge(data, {}).rows}
    drawn = {one.get_label(): one.lines[0] for one in judged.containers}
    for label, name in (
        ("SLA less theory", "SLA, N={}"),
        ("exact solution less theory", "exact solution, N={}"),
        ("SLA, fresh prompts less exact error", "SLA, fresh prompts less exact, N={}"),
    ):
        np.testing.assert_array_equal(drawn[label].get_xdata(), data.context)  # none beside its N
        off = [rows[name.format(n)][1] - rows[name.format(n)][2] for n in data.context.values]
        np.testing.assert_allclose(
            drawn[label].get_ydata(), 100 * np.array(off) / fig_s8._at(data, data.context.values)
        )


def test_another_dimension_is_not_compared():
    data, arrays = made_up(size=10), arrays_of("SA", np.array([10.0]), np.array([0.5]), np.array([0.1]))
    verdict = fig_s8.judge(data, arrays)
    assert not any("published" in row[0] for row in verdict.rows)
    assert any("not compared with ours of D = 10" in remark for remark in verdict.remarks)
    labels = fig_s8.draw(data, arrays).axes[0].get_legend_handles_labels()[1]
    assert "the same theory at $D = 20$" in labels


def test_published_files_that_do_not_fit_are_named(tmp_path):
    folder = tmp_path / "copy/fig-S8/data"
    folder.mkdir(parents=True)
    wrong = arrays_of("TF", np.arange(1, 4), np.ones(2), np.ones(3)) | arrays_of("FLA", *np.ones((3, 2)) / 2)
    for name, array in wrong.items():
        np.save(tmp_path / "copy" / name, array)
    found = read_published(tmp_path / "copy", fig_s8.FIGURE.published)
    fig_s8.judge(made_up(), found)
    assert "fig-S8/data/TF_mean.npy" in found.remarks["fig-S8/data/TF_mean.npy"]
    assert "FLA is left out: N must be whole" in found.remarks["fig-S8/data/FLA_N.npy"]
    assert fig_s8.draw(made_up(), found).axes
    assert "missing" in found.remarks["fig-S8/data/SA_N.npy"]


def test_without_pytorch_it_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(fig_s8, "draw_tokens", lambda **given: pytest.fail("work was done"))
    with pytest.raises(ParameterError, match=r"pip install 'iclglass\[torch\]'"):
        reproduce("fig-S8", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_thread_is_given_back(torch):
    before = torch.get_num_threads()
    with architectures.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
