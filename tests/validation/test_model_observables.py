"""Observables of any weights: integrals over queries against plain drawing, and simulations against the theory."""

from dataclasses import replace

import numpy as np
import pytest

from iclglass.validation.minimisers.functions import OneBodyFunctions
from iclglass.validation.minimisers.losses import ABSOLUTE_ERROR, HINGE, LOG_LOSS, SQUARED_ERROR
from iclglass.validation.minimisers.minimise import minimise
from iclglass.validation.minimisers.nuclear import minimise_nuclear
from iclglass.validation.minimisers.penalties import scaled_elastic_net
from iclglass.validation.model_observables import errors_on_new_prompts, measure_weights
from iclglass.validation.prompts import draw_prompts


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        ("linear", SQUARED_ERROR),
        ("linear", ABSOLUTE_ERROR),
        ("linear", replace(ABSOLUTE_ERROR, translation=False)),
        ("sign", HINGE),
        ("sign", LOG_LOSS),
        ("sign", SQUARED_ERROR),
    ],
)
def test_errors_are_those_of_drawn_prompts(labels, loss):
    law = {"dimension": 4, "context": 8, "label_noise": 0.2, "labels": labels}
    weights = np.eye(5, 4) + 0.3 * np.random.default_rng(1).standard_normal((5, 4))
    drawn = draw_prompts(**law, prompts=200_000, rng=np.random.default_rng(2))
    found = errors_on_new_prompts(drawn, weights, loss, rng=np.random.default_rng(3), draws=4000)
    prediction = drawn.features.predict(weights)
    plain = {
        "test_loss": loss.value(drawn.label, prediction),
        "squared_error": (drawn.label - prediction) ** 2,
        "error_rate": drawn.label * prediction < 0,
    }
    for name, values in plain.items():
        if name == "error_rate" and labels == "linear":
            assert np.isnan(found.error_rate)
            continue
        error = np.hypot(getattr(found, f"{name}_error"), np.std(values) / np.sqrt(values.size))
        assert abs(getattr(found, name) - np.mean(values)) < 4 * error + 2e-4, name


def test_exact_and_drawn_squared_errors_agree():
    data = draw_prompts(dimension=6, context=12, prompts=50, label_noise=0.1, rng=np.random.default_rng(4))
    weights = np.eye(7, 6) + 0.1
    found = measure_weights(data, weights, SQUARED_ERROR, rng=np.random.default_rng(5))
    assert abs(found.e_icl - 2 * found.test_loss) < 8 * found.test_loss_error
    assert found.e_train == pytest.approx(2 * found.train_loss, rel=1e-12)


# finite-size theory of each model, an independent computation; accurate to about 1 %
THEORY = {
    "lasso": {"m": 0.5387, "v": 0.0461, "e_icl": 0.4801, "e_train": 0.1702, "density_off_diagonal": 0.3031},
    "few tokens": {"m": 0.3721, "v": 0.0028, "e_icl": 0.5607, "e_train": 0.4914, "density_off_diagonal": 0.0945},
    "log loss": {"m": 0.9227, "v": 0.917, "error_rate": 0.3237, "test_loss": 0.6108, "train_loss": 0.3335},
    "nuclear": {"m": 0.3296, "q": 0.3423, "e_icl": 0.8640, "e_train": 0.1305, "rank": 0.6875},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", THEORY)
def test_simulations_agree_with_the_theory(kind):
    law = {
        "dimension": 20,
        "context": 20 if kind == "few tokens" else 40,
        "last_row": kind not in ("log loss", "nuclear"),
    }
    tau = {"few tokens": 3, "log loss": 2}.get(kind, 1)
    labels, loss = ("sign", LOG_LOSS) if kind == "log loss" else ("linear", SQUARED_ERROR)
    penalty = {
        "lasso": scaled_elastic_net(20, l1=0.5),
        "few tokens": scaled_elastic_net(20, l1=1.0),
        "log loss": scaled_elastic_net(20, ridge=0.1),
    }
    rows = []
    for seed in range(30):
        data = draw_prompts(**law, prompts=400 * tau, labels=labels, rng=np.random.default_rng(1000 + seed))
        if kind == "nuclear":
            found = minimise_nuclear(data, loss, 0.3 / 20)
        else:
            found = minimise(data, OneBodyFunctions(loss, penalty[kind]))
        assert found.converged
        measured = measure_weights(data, found.weights, loss, draws=1000, rng=np.random.default_rng(seed))
        rows.append([getattr(measured, name) for name in THEORY[kind]])
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
    theory = np.array(list(THEORY[kind].values()))
    assert np.all(np.abs(mean - theory) < 4 * error + 0.015 * theory), (mean, error)
