r"""Attention architectures trained on full tokens (SG Fig. S8), with PyTorch (extra ``torch``).

A prompt is the (D+1) x (N+1) matrix Z of tokens z_k = (x_k, y_k), the last of them z = (X, 0), the query; here tokens
are rows, (N+1, D+1). The answer f is read from the query's last entry. With heads of size d, W_q, W_k, W_v: (d, D+1),

    SLA    f = (1/norm) sum_k y_k z_k.(W X)                     one matrix W, (D+1, D): the layer of the theory
    FLA    z + W_v sum_k z_k (W_k z_k).(W_q z)/norm             one head, d = D+1
    MHLA   z + W_o [W_v sum_k z_k (W_k z_k).(W_q z)/norm]_h     heads h of d = ceil((D+1)/heads), side by side in W_o
    SA     z + W_v sum_k z_k softmax_k((W_k z_k).(W_q z)/sqrt(d))
    TF     a = z + W_o [softmax heads of L1(Z)]_h,   a + W_2 gelu(W_1 L2(a) + b_1) + b_2,    L: layer norm

Sums run over all N+1 tokens; norm = N+1. In SLA the query adds nothing, its label is masked. FLA and MHLA are
sum_ijk T_ijk G_ij z_k, G = Z Z^T/norm: averaged over rotations and signs of the tasks, which leaves the law of prompts
as it is and cannot raise the mean error (it is convex in T), T keeps the terms of SLA with W a multiple of the identity
alone. So no FLA or MHLA has less than the least error of SLA on new tasks. (This project.)

Several independent data sets are trained at once: all arrays have a leading axis R of replicas, the loss is the sum of
the replicas' mean squared errors, and Adam acts on each entry alone. Single precision, on the CPU, on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import MissingExtraError
from iclglass.numerics.instance.data import Instance
from iclglass.validation.training.optimisers import ADAM_BETAS, ADAM_EPSILON, BatchOrder

__all__ = [
    "ARCHITECTURES",
    "NORM",
    "TokenPrompts",
    "draw_tokens",
    "import_torch",
    "initial_weights",
    "one_thread",
    "predict",
    "squared_errors",
    "trained",
]

Array = NDArray[np.float32]
Weights = dict[str, Array]

ARCHITECTURES = ("SLA", "FLA", "MHLA", "SA", "TF")
NORM = "N+1"
"""What linear attention is divided by: all tokens of the prompt, the query included."""

_EXPANSION = 4
"""Hidden units of the transformer's perceptron over D + 1."""
_CHUNK = 1 << 20
"""Entries of tokens evaluated at once on new prompts."""


def import_torch() -> Any:
    """PyTorch.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("other attention architectures need PyTorch: pip install 'iclglass[torch]'") from error
    return torch


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: tensors this small cost more to share than to compute, and sums keep their order.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    """
    torch = import_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class TokenPrompts:
    """R data sets of P prompts each, token by token.

    tokens : (R, P, N+1, D+1), single precision; the last token is the query, its label 0.    label : (R, P).
    """

    tokens: Array
    label: Array

    def instance(self, replica: int) -> Instance:
        """One of the data sets as linear attention sees it, norm N+1, in double precision.

        >>> draw_tokens(dimension=2, context=3, prompts=5, rngs=[np.random.default_rng(1)]).instance(0).context.shape
        (5, 3)
        """
        tokens = self.tokens[replica].astype(np.float64)
        return Instance.from_tokens(
            tokens[:, :-1, :-1],
            tokens[:, :-1, -1],
            tokens[:, -1, :-1],
            self.label[replica].astype(np.float64),
            norm=NORM,
        )


def draw_tokens(*, dimension: int, context: int, prompts: int, rngs: Sequence[np.random.Generator]) -> TokenPrompts:
    """One data set for each generator: x_k, X, w ~ N(0, I_D), every prompt its own task w, y = w.x/sqrt(D), no noise.

    The law is that of `validation.prompts.draw_prompts`, which does not keep the tokens.

    >>> data = draw_tokens(dimension=2, context=3, prompts=5, rngs=[np.random.default_rng(1)])
    >>> data.tokens.shape, data.label.shape, float(np.abs(data.tokens[:, :, -1, -1]).max())
    ((1, 5, 4, 3), (1, 5), 0.0)
    """
    tokens = np.empty((len(rngs), prompts, context + 1, dimension + 1), dtype=np.float32)
    for replica, rng in enumerate(rngs):
        task = rng.standard_normal((prompts, dimension, 1), dtype=np.float32) / np.float32(math.sqrt(dimension))
        inputs = rng.standard_normal((prompts, context + 1, dimension), dtype=np.float32)
        tokens[replica, :, :, :-1] = inputs
        tokens[replica, :, :, -1:] = inputs @ task
    label = tokens[:, :, -1, -1].copy()
    tokens[:, :, -1, -1] = 0.0
    return TokenPrompts(tokens, label)


def initial_weights(name: str, *, dimension: int, heads: int, rngs: Sequence[np.random.Generator]) -> Weights:
    """A set of initial weights for each generator, stacked: independent entries of variance 1/columns, but layer norms
    start as such (gain 1) and biases at 0. With D+1 columns the variance is that of SG's W, Fig. S1.

    >>> weights = initial_weights("MHLA", dimension=6, heads=3, rngs=[np.random.default_rng(1)])
    >>> weights["query"].shape, weights["output"].shape
    ((1, 3, 3, 7), (1, 7, 9))
    """
    size = dimension + 1
    split = name in ("MHLA", "TF")
    count, depth = (heads, -(-size // heads)) if split else (1, size)
    shapes: dict[str, tuple[int, ...]] = {"merged": (size, dimension)}
    if name != "SLA":
        shapes = dict.fromkeys(("query", "key", "value"), (count, depth, size))
    if split:
        shapes["output"] = (size, count * depth)
    if name == "TF":
        shapes |= {"up": (_EXPANSION * size, size), "down": (size, _EXPANSION * size)}
    # the merged matrix has D+1 columns, too: the one that the masked label multiplies is left out
    columns = {part: size if part == "merged" else shape[-1] for part, shape in shapes.items()}
    weights = {
        part: np.stack([rng.standard_normal(shape) / math.sqrt(columns[part]) for rng in rngs])
        for part, shape in shapes.items()
    }
    if name == "TF":
        ones, zeros = np.ones((len(rngs), size)), np.zeros((len(rngs), size))
        weights |= {"gain_1": ones, "shift_1": zeros, "gain_2": ones, "shift_2": zeros, "down_bias": zeros}
        weights["up_bias"] = np.zeros((len(rngs), _EXPANSION * size))
    return {part: values.astype(np.float32) for part, values in weights.items()}


def predict(name: str, weights: Mapping[str, Any], tokens: Any) -> Any:
    """Answers (R, B) to prompts (R, B, N+1, D+1); weights and tokens are PyTorch's. Equations: module's docstring."""
    query = tokens[:, :, -1]
    if name == "SLA":
        mapped = _times(query[..., :-1], weights["merged"])
        scores = (tokens @ mapped[..., None])[..., 0]
        return (scores * tokens[..., -1]).sum(-1) / tokens.shape[2]  # the query's token counts: norm N+1
    if name != "TF":
        return (query + _attention(weights, tokens, softmax=name == "SA"))[..., -1]
    functional = import_torch().nn.functional

    def standard(values: Any, which: int) -> Any:
        gain, shift = (weights[f"{kind}_{which}"] for kind in ("gain", "shift"))
        between = (slice(None), *(None,) * (values.ndim - 2))
        return functional.layer_norm(values, values.shape[-1:]) * gain[between] + shift[between]

    attended = query + _attention(weights, standard(tokens, 1), softmax=True)
    hidden = functional.gelu(_times(standard(attended, 2), weights["up"]) + weights["up_bias"][:, None])
    return (attended + _times(hidden, weights["down"]) + weights["down_bias"][:, None])[..., -1]


def _times(rows: Any, matrix: Any) -> Any:
    return rows @ matrix.transpose(1, 2)


def _attention(weights: Mapping[str, Any], tokens: Any, *, softmax: bool) -> Any:
    """What the heads add to the query's token, (R, B, D+1)."""
    depth = weights["query"].shape[2]
    queries = tokens[:, None, :, -1] @ weights["query"].transpose(2, 3)  # (R, heads, B, d)
    mapped = (queries @ weights["key"]).transpose(1, 2)  # (R, B, heads, D+1)
    scores = mapped @ tokens.transpose(2, 3)  # (R, B, heads, N+1)
    shares = (scores / math.sqrt(depth)).softmax(-1) if softmax else scores / tokens.shape[2]
    values = ((shares @ tokens).transpose(1, 2) @ weights["value"].transpose(2, 3)).transpose(1, 2)
    joined = values.flatten(2)
    return _times(joined, weights["output"]) if "output" in weights else joined


def trained(
    name: str,
    data: TokenPrompts,
    *,
    start: Weights,
    steps: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> Weights:
    """Weights after ``steps`` of Adam on (y - f)^2, every replica on its own data set.

    The rate falls from learning_rate to 0 as a cosine, so that the noise of the batches dies out. weight_decay is
    PyTorch's Adam's, on all weights: SLA's energy has lambda0 = weight_decay/2. Batches: a new random order every
    epoch, from ``seed``, the same for all replicas.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    """
    torch = import_torch()
    weights = {part: torch.tensor(values, requires_grad=True) for part, values in start.items()}
    tokens, label = torch.from_numpy(data.tokens), torch.from_numpy(data.label)
    optimiser = torch.optim.Adam(
        list(weights.values()), lr=learning_rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, weight_decay=weight_decay
    )
    order = BatchOrder(prompts=data.label.shape[1], batch=batch, seed=seed)
    for step in range(steps):
        rows = torch.from_numpy(order.rows(step))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        loss = ((label[:, rows] - predict(name, weights, tokens[:, rows])) ** 2).mean(1).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {part: values.detach().numpy().copy() for part, values in weights.items()}


def squared_errors(name: str, weights: Weights, data: TokenPrompts) -> NDArray[np.float64]:
    """(R, P): (y - f)^2 of every prompt.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    """
    torch = import_torch()
    tensors = {part: torch.from_numpy(values) for part, values in weights.items()}
    step = max(1, _CHUNK // math.prod(data.tokens.shape[2:]))
    pieces = []
    with torch.no_grad():
        for first in range(0, data.label.shape[1], step):
            part = slice(first, first + step)
            pieces.append(predict(name, tensors, torch.from_numpy(data.tokens[:, part])).numpy())
    answers = np.concatenate(pieces, axis=1)
    return (data.label.astype(np.float64) - answers) ** 2
