"""Error bounds of models at finite D cover what many more nodes change, over points drawn at random.

Of each kind of averages sixteen points, D = 6 to 32: 48 in all, none of whose bounds fails. Bounds that failed one time
in twenty would do so on all of them once in twelve.
"""

import numpy as np
import pytest

import iclglass.numerics.finite_models as module
from iclglass.numerics.saddle_point import solve

KINDS = {
    "squared error": {"l1": 0.4},
    "Huber": {"loss": "huber", "ridge": 0.1},
    "hinge": {"loss": "hinge", "labels": "sign", "ridge": 0.1},
}
COUNT = 16


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_cover_over_random_points(kind, monkeypatch):
    rng = np.random.default_rng(7)
    given = {
        "dimension": rng.integers(6, 33, COUNT),
        "task_diversity": np.exp(rng.uniform(np.log(0.5), np.log(4), COUNT)),
        "context_length": np.exp(rng.uniform(np.log(0.7), np.log(4), COUNT)),
        "label_noise": rng.choice([0.0, 0.2], COUNT, p=[0.9, 0.1]),
    } | KINDS[kind]
    rough = solve(**given)
    monkeypatch.setattr(module, "_LEVELS", {"few": 0, "check": 1, "many": 3})
    monkeypatch.setattr(module, "_REFINE", {"few": -3, "check": -1, "many": 4})
    monkeypatch.setattr(module, "_FINENESS", 0.9)
    monkeypatch.setattr(module, "_GOOD", {True: 1e-13, False: 1e-5})
    fine = solve(**given)
    moved = np.max([np.abs(getattr(rough, name) / getattr(fine, name) - 1) for name in ("m", "q", "chi")], axis=0)
    print(f"{kind}: {np.mean(moved < rough.error_bound):.2f}, ratio {np.median(moved / rough.error_bound):.2g}")
    assert np.all(np.isfinite(moved))
    assert np.mean(moved < rough.error_bound) == 1.0, (moved, rough.error_bound)
    # A bound that is a thousand times the error would tell nothing.
    assert np.median(rough.error_bound) < 1e-2
    # A bound that is a hundred times smaller does not cover.
    assert np.mean(moved < rough.error_bound / 100) < 1.0
