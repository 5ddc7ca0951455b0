"""The state of one computation: saved now and then, and however it ends."""

import numpy as np
import pytest

from iclglass.numerics.running.state import kept_state
from tests.numerics.running.killing import rows

PROGRAM = {"modules": {}, "numpy": "2"}


def kept(path, every=1e9):
    return kept_state(path, "solve", {}, PROGRAM, arrays=lambda step: {"step": np.array(step)}, every=every)


@pytest.mark.parametrize(("every", "seen"), [(0.0, [1, 2, 3]), (1e9, [None, None, None])])
def test_it_is_saved_now_and_then_and_at_the_end(tmp_path, every, seen):
    """What is seen from outside after each step; an error keeps the last."""
    found = []

    def fails():
        with kept(tmp_path / "a.checkpoint", every) as work:
            for step in (1, 2, 3):
                work.keep(step)
                row = rows(tmp_path / "a").get("step")
                found.append(None if row is None else int(np.frombuffer(row[1], dtype="<i8")[0]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert found == seen
    with kept(tmp_path / "a.checkpoint") as work:
        assert work.found == {"step": np.array(3)}
        assert work.found["step"].flags.writeable
        work.store.remove()
    assert list(tmp_path.iterdir()) == []


def test_without_a_state_or_a_file_nothing_is_kept(tmp_path):
    with kept(tmp_path / "a.checkpoint"):
        pass
    with kept(None) as work:
        work.keep(1)
    assert list(tmp_path.iterdir()) == []
