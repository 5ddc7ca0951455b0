"""Data sets drawn in blocks: the same numbers for everyone, the law of `draw_prompts`, independent blocks."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.blocks import BlockSource, InstanceBlocks
from iclglass.numerics.instance.distributed import solve_distributed
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.validation.observables import measure
from iclglass.validation.pools import draw_pool
from iclglass.validation.population import gaussian_moments, pool_moments, population_error
from iclglass.validation.prompt_blocks import PromptBlocks, measure_blocks
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.scores import z_of

FALSE_ALARM = 0.01  # of each statistical test, all its comparisons together
SOLVES = 1e-12  # a residual of at most 1e-14 times a condition number of 43
SOURCE = PromptBlocks(dimension=4, context=8, prompts=50, label_noise=0.2, seed=1, block_prompts=16)


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("context", "query", "label"))


def part(data, rows: slice):
    return replace(data, context=data.context[rows], query=data.query[rows], label=data.label[rows])


def test_a_source_is_a_few_numbers():
    assert isinstance(SOURCE, BlockSource)
    sent = pickle.dumps(SOURCE)
    assert len(sent) < 400
    received = pickle.loads(sent)  # noqa: S301
    assert received == SOURCE
    assert hash(received) == hash(SOURCE)
    assert same(received.block(2), SOURCE.block(2))
    numpy_numbers = replace(SOURCE, prompts=np.int64(50), seed=np.int32(1), label_noise=np.float64(0.2))
    assert (numpy_numbers, type(numpy_numbers.prompts)) == (SOURCE, int)


@pytest.mark.parametrize(
    ("prompts", "block_prompts", "sizes"),
    [(50, 16, [16, 16, 16, 2]), (48, 16, [16] * 3), (5, 16, [5]), (16, 16, [16]), (3, 1, [1, 1, 1])],
)
def test_blocks_add_up(prompts, block_prompts, sizes):
    source = replace(SOURCE, prompts=prompts, block_prompts=block_prompts)
    parts = [source.block(index) for index in reversed(range(source.blocks))][::-1]  # what was drawn before is nothing
    assert [found.prompts for found in parts] == sizes
    whole = source.whole()
    assert whole.prompts == prompts
    assert np.unique(whole.query).size == whole.query.size  # blocks share no numbers
    for index, found in enumerate(parts):
        assert same(found, part(whole, slice(index * block_prompts, (index + 1) * block_prompts)))
    assert (whole.context_count, whole.label_noise, whole.norm, whole.tasks) == (8, 0.2, "N", None)


def test_fewer_prompts_are_the_beginning_of_more():
    assert same(replace(SOURCE, prompts=37).whole(), part(SOURCE.whole(), slice(37)))


@pytest.mark.parametrize("change", [{"block_prompts": 8}, {"seed": 2}, {"dimension": 5, "context": 8}])
def test_other_sources_are_other_data(change):
    mine, other = SOURCE.whole().query, replace(SOURCE, **change).whole().query
    assert not np.isin(other, mine).any()


def test_no_block_is_a_data_set_of_the_simulation():
    """`validation.simulation` draws sample i from (seed, (D, i))."""
    stream = np.random.default_rng(np.random.SeedSequence(entropy=1, spawn_key=(4, 0)))
    other = draw_prompts(dimension=4, context=8, prompts=16, label_noise=0.2, rng=stream)
    assert not np.isin(SOURCE.block(0).query, other.query).any()


def first_and_second_moments(data) -> tuple[np.ndarray, np.ndarray]:
    """Of the label's square, its products with the features and of the context; one row a prompt, their means known."""
    outer = np.einsum("pi,pj->pij", data.context, data.context).reshape(data.prompts, -1)
    signal = np.einsum("p,pi,pj->pij", data.label, data.context, data.query).reshape(data.prompts, -1)
    return np.column_stack([data.label**2, signal, outer])


@pytest.mark.parametrize(("norm", "task_count"), [("N", None), ("N+1", None), ("N", 3)])
def test_law_of_the_blocks(norm, task_count):
    """Means over prompts against their exact values, and the spread between prompts against that of draw_prompts."""
    law = {"context": 6, "label_noise": 0.2, "norm": norm}
    data = replace(SOURCE, **law, prompts=20_000, task_count=task_count, seed=11, block_prompts=64).whole()
    exact = gaussian_moments(np.ones(4), **law) if task_count is None else pool_moments(data.tasks, **law)
    expected = np.concatenate([[exact.label], exact.signal.ravel(), exact.second.ravel()])
    values = first_and_second_moments(data)
    threshold = bonferroni_threshold(FALSE_ALARM, expected.size)
    assert np.max(np.abs(z_of(values, expected))) < threshold
    other = first_and_second_moments(
        draw_prompts(dimension=4, prompts=20_000, tasks=data.tasks, **law, rng=np.random.default_rng(5))
    )
    logs = [np.log1p(np.abs(found)) for found in (values, other)]  # of which a variance is soon known
    squares = [(found - found.mean(axis=0)) ** 2 for found in logs]
    error = np.sqrt(sum(found.var(axis=0, ddof=1) / len(found) for found in squares))
    z = (squares[0].mean(axis=0) - squares[1].mean(axis=0)) / error
    assert np.max(np.abs(z)) < threshold


def test_blocks_are_independent():
    """Means of blocks of 16 vary as those of independent prompts do: their variance is 1/16 of a prompt's."""
    data = replace(SOURCE, context=6, prompts=32_000, seed=2).whole()
    values = np.column_stack([data.query, np.tanh(data.context), np.tanh(data.label)])
    blocks = values.reshape(2000, 16, -1).mean(axis=1)
    blocks -= values.mean(axis=0)
    z = np.concatenate([z_of(16 * blocks**2, values.var(axis=0)), z_of(blocks[1:] * blocks[:-1])])
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, z.size)


def test_a_pool_is_the_same_for_every_block():
    source = replace(SOURCE, task_count=3)
    pools = [source.block(index).tasks for index in (0, 3)] + [replace(source, block_prompts=5).block(0).tasks]
    assert all(np.array_equal(found, pools[0]) for found in pools)
    stream = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(4, 0, 3)))
    assert np.array_equal(pools[0], draw_pool(dimension=4, count=3, rng=stream))
    assert not np.array_equal(pools[0], replace(source, seed=2).block(0).tasks)


@pytest.mark.parametrize("layer", [{}, {"last_feature": "scaled-tokens"}, {"last_row": False}])
@pytest.mark.parametrize("norm", ["N", "N+1"])
@pytest.mark.parametrize("task_count", [None, 5])
def test_measured_as_the_data_set_in_memory(task_count, norm, layer):
    source = replace(SOURCE, prompts=90, task_count=task_count, norm=norm, **layer)
    data = source.whole()
    assert data.layer == source.layer == source.block(0).layer
    given = {"ridge0": 0.1 / 4, "beta": 1.0, "tolerance": 1e-14}
    solution = solve_distributed(source, **given)
    weights = solution.mean[:, :4]
    np.testing.assert_allclose(weights, ground_state(data, 0.1 / 4), rtol=0, atol=SOLVES)
    again = solve_distributed(InstanceBlocks(data, block_prompts=33), **given, initial=solution)
    np.testing.assert_allclose(again.mean, solution.mean, rtol=0, atol=SOLVES)
    found, memory = measure_blocks(source, weights), measure(data, ridge=0.1)
    assert set(found) == {"m", "q", "e_icl", "e_idg", "e_train", "contrast"}
    for name, value in found.items():
        assert value == pytest.approx(getattr(memory, name), rel=10 * SOLVES), name
    law = gaussian_moments(np.ones(4), context=8, label_noise=0.2, norm=norm, **layer)
    assert found["e_icl"] == pytest.approx(population_error(weights, law), rel=10 * SOLVES)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task_count": 0}, ParameterError, "task_count must be at least 1"),
        ({"seed": -1}, ParameterError, "seed must be at least 0"),
        ({"seed": None}, ParameterTypeError, "seed must be an integer"),
        ({"block_prompts": 0}, ParameterError, "block_prompts must be at least 1"),
    ],
)
def test_bad_input(change, error, message):
    """Of what is not the law of a prompt: that is in test_prompts."""
    with pytest.raises(error, match=message):
        replace(SOURCE, **change)


def test_more_than_fits_is_refused_in_one_piece_and_drawn_in_blocks():
    source = replace(SOURCE, prompts=10**14)
    with pytest.raises(ParameterError, match=r"in one piece need about .* solve_distributed takes them in blocks"):
        source.whole()
    assert source.block(source.blocks - 1).prompts == 16


@pytest.mark.parametrize("index", [-1, 4])
def test_no_such_block(index):
    with pytest.raises(ParameterError, match=r"block 4 of 4|index must be at least 0"):
        SOURCE.block(index)
