"""The same training by PyTorch: automatic differentiation of the energy and torch.optim, in double precision.

An independent road to the same numbers (extra ``torch``), on the CPU.
"""

from iclglass.numerics.errors import MissingExtraError
from iclglass.numerics.instance.data import Instance
from iclglass.validation.training.optimisers import ADAM_BETAS, ADAM_EPSILON, Rows, TrainingState

__all__ = ["TorchStepper"]


class TorchStepper:
    """Advances a `TrainingState` by one step of torch.optim.SGD or torch.optim.Adam.

    Raises MissingExtraError where PyTorch is not installed.
    """

    def __init__(
        self, instance: Instance, *, optimiser: str, learning_rate: float, ridge0: float, state: TrainingState
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(
                "backend 'torch' needs PyTorch: pip install 'iclglass[torch]', or use backend 'numpy'"
            ) from error
        self._torch = torch
        arrays = (instance.context, instance.query, instance.label)
        self._data = [torch.tensor(array, dtype=torch.float64) for array in arrays]
        self._ridge0 = ridge0
        self._parameters = [torch.tensor(matrix, requires_grad=True) for matrix in state.parameters]
        if optimiser == "adam":
            self._optimiser = torch.optim.Adam(self._parameters, lr=learning_rate, betas=ADAM_BETAS, eps=ADAM_EPSILON)
            for matrix, first, second in zip(self._parameters, state.first, state.second, strict=True):
                self._optimiser.state[matrix] = {
                    "step": torch.tensor(float(state.step)),
                    "exp_avg": torch.tensor(first),
                    "exp_avg_sq": torch.tensor(second),
                }
        else:
            self._optimiser = torch.optim.SGD(self._parameters, lr=learning_rate)

    def advance(self, state: TrainingState, rows: Rows) -> TrainingState:
        """The next state, from a step on the prompts ``rows``."""
        index = rows if isinstance(rows, slice) else self._torch.from_numpy(rows)
        context, query, label = (tensor[index] for tensor in self._data)
        matrices = self._parameters
        weights = matrices[0] if len(matrices) == 1 else matrices[0].T @ matrices[1]
        prediction = ((context @ weights) * query).sum(dim=1)
        energy = ((label - prediction) ** 2).mean() / 2 + self._ridge0 / 2 * sum((m**2).sum() for m in matrices)
        self._optimiser.zero_grad()
        energy.backward()
        self._optimiser.step()
        averages = [self._optimiser.state[matrix] for matrix in matrices]
        return TrainingState(
            state.step + 1,
            tuple(matrix.detach().numpy().copy() for matrix in matrices),
            tuple(kept["exp_avg"].numpy().copy() for kept in averages) if "exp_avg" in averages[0] else state.first,
            tuple(kept["exp_avg_sq"].numpy().copy() for kept in averages) if "exp_avg" in averages[0] else state.second,
        )
