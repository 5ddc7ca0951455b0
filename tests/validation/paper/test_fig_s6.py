"""Fig. S6: gradient by differences, Adam against PyTorch, the expected error against inverted covariances."""

import numpy as np
import pytest

from iclglass.validation.paper import fig_s6
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

FALSE_ALARM = 1e-4
STEP = 1e-6
DIFFERENCES = 1e-8
ROUNDING = 1e-9


def _group(count=2, dimension=3, context=12, tasks=4):
    rng = np.random.default_rng(1)
    tokens = rng.standard_normal((count, dimension, context))
    covariance = tokens @ tokens.transpose(0, 2, 1) / context
    return (
        rng.standard_normal((count, dimension + 1, dimension)),
        covariance,
        rng.standard_normal((count, tasks, dimension)),
    )


def test_slope_is_that_of_the_loss():
    weights, covariance, tasks = _group()
    _, gradient = fig_s6.slope(weights, covariance, tasks)
    for place in ((0, 1, 2), (1, 3, 0)):
        shift = np.zeros_like(weights)
        shift[place] = STEP
        up, down = (fig_s6.slope(weights + sign * shift, covariance, tasks)[0][place[0]] for sign in (1, -1))
        assert abs((up - down) / (2 * STEP) - gradient[place]) < DIFFERENCES


def test_loss_by_hand():
    weights, covariance, tasks = _group()
    loss = 0.0
    for task in tasks[1]:
        matrix = (np.outer(task, weights[1, -1]) / np.sqrt(3) + weights[1, :-1]) @ covariance[1] - np.eye(3)
        loss += np.mean(matrix**2) / len(tasks[1])
    assert fig_s6.slope(weights, covariance, tasks)[0][1] == pytest.approx(loss, rel=ROUNDING)


def test_solution_has_no_loss():
    _, covariance, tasks = _group()
    solution = np.concatenate([np.linalg.inv(covariance), np.zeros((2, 1, 3))], axis=1)
    assert np.all(fig_s6.slope(solution, covariance, tasks)[0] < ROUNDING)


@pytest.mark.slow
def test_adam_is_pytorchs():
    torch = pytest.importorskip("torch")
    weights, covariance, tasks = _group(count=1)
    _, _, ours = fig_s6.adam(weights, covariance, tasks, 20)
    trained = torch.tensor(weights[0], requires_grad=True)
    optimiser = torch.optim.Adam([trained], lr=fig_s6.RATE)
    for _ in range(20):
        matrix = torch.tensor(tasks[0])[:, :, None] * trained[-1] / np.sqrt(3) + trained[:-1]
        loss = ((matrix @ torch.tensor(covariance[0]) - torch.eye(3)) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert np.allclose(ours[0], trained.detach().numpy(), atol=ROUNDING)


def test_expected_error_against_inverted_covariances():
    tokens = np.random.default_rng(3).standard_normal((4000, 5, 25))
    inverse = np.linalg.inv(tokens @ tokens.transpose(0, 2, 1) / 25)
    mean, error = mean_and_error(np.mean((inverse - np.eye(5)) ** 2, axis=(1, 2)))
    assert abs(mean - fig_s6.expected_error(5, 25)) < bonferroni_threshold(FALSE_ALARM, 1) * error
