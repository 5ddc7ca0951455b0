"""Unfinished solves: gone on with from every step, bit for bit; files of others and damaged ones refused."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.instance.distributed import solve_distributed
from iclglass.numerics.instance.krylov import response_solve
from iclglass.numerics.running.store import Row, open_store
from iclglass.validation.prompt_blocks import PromptBlocks

SMALL = PromptBlocks(dimension=6, context=8, prompts=230, seed=5, block_prompts=16)
OPTIONS = {"ridge0": 0.02, "beta": 3.0}


@pytest.fixture(scope="module")
def system():
    """Three right-hand sides of which one is done early and one at once, and a second run on the true residual."""
    features = SMALL.whole().features
    fields = np.random.default_rng(2).normal(size=(3, 7, 6))
    fields[1] = features.normal(np.ones((7, 6)) * 1e-3) / 230
    fields[2] = 0
    return features, fields, {"tolerance": 3e-15, "max_iterations": 1000}


def test_every_step_is_one_to_go_on_from(system):
    features, fields, options = system
    states = []
    whole = response_solve(features, fields, 1e-3, keep=states.append, **options)
    assert len(states) == whole.iterations > 20
    assert len({state.residual.tobytes() for state in states}) > 1  # more than one run
    assert len({len(state.active) for state in states}) > 1
    for state in states:
        again = response_solve(features, fields, 1e-3, resumed=state, **options)
        assert again.weights.tobytes() == whole.weights.tobytes()
        assert again.history.tobytes() == whole.history.tobytes()
        assert again.residual.tobytes() == whole.residual.tobytes()


def test_to_keep_changes_nothing_and_states_do_not_change_afterwards(system):
    features, fields, options = system
    states, copies = [], []
    response_solve(
        features, fields, 1e-3, keep=lambda state: (states.append(state), copies.append(bits(state))), **options
    )
    assert [bits(state) for state in states] == copies


def bits(state):
    return {name: value.tobytes() for name, value in vars(state).items()}


def interrupted(path, step, **options):
    def stop(done, residual):
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_distributed(SMALL, **(OPTIONS | options), checkpoint=path, progress=stop)


def test_a_limit_of_steps_may_be_raised(tmp_path):
    whole = solve_distributed(SMALL, **OPTIONS)
    solve_distributed(SMALL, **OPTIONS, max_iterations=9, checkpoint=tmp_path / "c")
    found = solve_distributed(SMALL, **OPTIONS, checkpoint=tmp_path / "c")
    assert found.mean.tobytes() == whole.mean.tobytes()


def test_another_start_is_refused(tmp_path):
    path = tmp_path / "c"
    first = solve_distributed(SMALL, **OPTIONS, max_iterations=3)
    interrupted(path, 5)
    with pytest.raises(ParameterError, match="initial is None there"):
        solve_distributed(SMALL, **OPTIONS, initial=first, checkpoint=path)


@pytest.mark.parametrize("name", ["weights", "remainder", "product", "history", "active"])
def test_arrays_that_do_not_fit_are_refused(tmp_path, name):
    """Rows that are whole, but of no solve: what damages the file itself is of the store's tests."""
    path = tmp_path / "c"
    interrupted(path, 5)
    with closing(sqlite3.connect(path)) as connection:
        header = dict(connection.execute("SELECT key, value FROM meta"))
    parameters, (here,) = json.loads(header["parameters"]), json.loads(header["programs"])
    with open_store(path, header["format"].removeprefix("iclglass "), parameters, here) as store:
        array = store.done[name].values
        store.record({name: Row(array[..., None] if name != "active" else array + 1)})
    with pytest.raises(OutputError, match=rf"is damaged .*{name}"):
        solve_distributed(SMALL, **OPTIONS, checkpoint=path)


def test_bad_values_leave_what_was_finished(tmp_path):
    path = tmp_path / "c"
    interrupted(path, 5)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="ridge0"):
        solve_distributed(SMALL, ridge0=-1.0, beta=3.0, checkpoint=path, fresh=True)
    assert path.read_bytes() == before
    steps = []
    solve_distributed(SMALL, **OPTIONS, checkpoint=path, fresh=True, progress=lambda done, _: steps.append(done))
    assert steps[0] == 1
