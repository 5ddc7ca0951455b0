"""Prompts of linear regression in context, drawn exactly from their law.

One prompt is a context of N labelled tokens and one query (SG section II; LU section 2):

    x_k ~ N(0, I_D),  w ~ N(0, I_D),  y_k = w.x_k / sqrt(D) + sqrt(rho) eps_k,   k = 1..N
    query X ~ N(0, I_D),              y_t = w.X   / sqrt(D) + sqrt(rho) eps_t

Every prompt has its own task w (SG), or draws one of the K tasks of a pool, each with probability 1/K (LU). Linear
attention sees the context only through

    C_m = sum_k y_k x_{k,m}  (m <= D),     C_{D+1} = sum_k y_k^2,     U = C / norm,

with U_{D+1} 1/sqrt(D) smaller for the layer on scaled tokens, or left out (`numerics.last_row`).

`prompt_contexts` draws C from its law, whatever N is.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from iclglass.numerics.arguments import (
    LARGEST,
    MOST,
    FloatArray,
    check_choice,
    check_count,
    check_real,
    check_type,
    doubles,
)
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import check_memory
from iclglass.numerics.sizes import NORMS, divisor
from iclglass.validation.pools import draw_pool, eigenvalues_of
from iclglass.validation.prompt_contexts import reduced_sums, signs, token_sums
from iclglass.validation.token_correlations import correlation_of

__all__ = ["LABELS", "METHODS", "PromptLaw", "Prompts", "draw_contexts", "draw_prompts"]

METHODS = ("reduced", "tokens")
LABELS = ("linear", "sign")

_ARRAYS = 4
"""Of the size of the data set, held at once while it is drawn: tasks, query, context, and one of passing use."""


@dataclass(frozen=True, kw_only=True)
class PromptLaw:
    """P prompts of N tokens in D dimensions, each argument checked as `draw_prompts` says."""

    dimension: int
    context: int
    prompts: int
    label_noise: float = 0.0
    norm: str = NORMS[0]
    last_feature: str = "unit-tokens"
    last_row: bool = True
    labels: str = LABELS[0]

    def __post_init__(self) -> None:
        reason = "in one dimension tokens have no part orthogonal to the task"
        checked: dict[str, Any] = {
            "dimension": check_count("dimension", self.dimension, minimum=2, maximum=MOST, reason=reason),
            "context": check_count("context", self.context, minimum=1, maximum=MOST),
            "prompts": check_count("prompts", self.prompts, minimum=1, maximum=MOST),
            "label_noise": check_real("label_noise", self.label_noise, minimum=0.0, maximum=LARGEST),
            "norm": check_choice("norm", self.norm, NORMS),
            **self.layer.to_dict(),
            "labels": check_choice("labels", self.labels, LABELS),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def layer(self) -> LastRow:
        """The last feature, and whether there is one."""
        return LastRow(self.last_feature, self.last_row)

    def law(self) -> dict[str, Any]:
        """The arguments by name."""
        return {field.name: getattr(self, field.name) for field in fields(PromptLaw)}


@dataclass(frozen=True, eq=False)
class Prompts(Instance):
    """One data set of P prompts in D dimensions.

    Attributes
    ----------
    context : (P, D+1) array
        U = C/norm. The last column is the sum of the squared labels over norm, times the size of that feature. (P, D)
        without last row.
    query, label : (P, D) and (P,) arrays
        The query tokens X, and the labels y_t of the queries, noise included.
    context_count : int
        N, labelled tokens in a prompt.
    label_noise : float
        rho, variance of the noise on every label.
    norm : {"N", "N+1"}
        LU and half of SG's code; the other half, where the query counts.
    tasks : (K, D) array, optional
        The pool the prompts' tasks were drawn from; None: every prompt has its own.
    spectrum : (D,) array, optional
        Variances of the entries of tasks of their own; None: ones, or a pool.
    token_covariance : (D, D) array, optional
        Of context tokens and query alike; None: the identity.
    labels : {"linear", "sign"}
        Of context and query.
    """

    context_count: int
    label_noise: float
    norm: str
    tasks: FloatArray | None = None
    spectrum: FloatArray | None = None
    token_covariance: FloatArray | None = None
    labels: str = LABELS[0]


def draw_prompts(
    *,
    dimension: int,
    context: int,
    prompts: int,
    label_noise: float = 0.0,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
    method: str = "reduced",
    tasks: FloatArray | None = None,
    spectrum: ArrayLike | None = None,
    token_covariance: ArrayLike | None = None,
    token_correlation: ArrayLike | None = None,
    labels: str = "linear",
    rng: np.random.Generator,
) -> Prompts:
    """Draw P independent prompts, each with its own task or with one of a pool.

    Parameters
    ----------
    dimension, context, prompts : int
        D >= 2, N >= 1 and P >= 1.
    label_noise : float
        rho >= 0.
    norm : {"N", "N+1"}
        What the context's sums are divided by.
    last_feature : {"unit-tokens", "scaled-tokens"}
        Size of the last feature: as in SG, or 1/sqrt(D) of it as in LU.
    last_row : bool
        False leaves the last column out. All else is the same to the bit: one seed gives one data set for all layers.
    method : {"reduced", "tokens"}
        The exact law in the module's docstring, O(P D) time and memory; or all N tokens of each prompt, O(P N D) time
        and O(P D) memory: the slow obvious version. The two give the same law, not the same numbers.
    tasks : (K, D) array_like, optional
        A pool (`validation.pools.draw_pool`): each prompt draws one of the K tasks, independently, each with
        probability 1/K. Without a pool every prompt has a task of its own, w_i ~ N(0, spectrum_i) independent.
    spectrum : (D,) array_like, optional
        By default ones.
    token_covariance : (D, D) array_like, optional
        Of the context tokens and of the query, symmetric and positive definite; by default the identity. Label
        variance is then Tr(covariance)/D: scale it to trace D to keep labels of order one. (SG Fig. S4 correlates the
        positions of a prompt instead: `validation.paper.correlated_tokens`.)
    token_correlation : float or (N, N) array_like, optional
        Of the context tokens along the prompt: a length in tokens, exp(-|k - l|/length), 0 for none, or their
        correlations, symmetric and positive semidefinite. The query is independent of them. With sign labels by method
        "tokens" only.
    labels : {"linear", "sign"}
        y, or its sign: of the context's labels and of the query's. Tasks, queries and the query's noise are the same
        numbers for both.
    rng : numpy.random.Generator
        Decides every number.

    Returns
    -------
    Prompts

    Raises
    ------
    ParameterError, ParameterTypeError
        A value outside its range.

    Examples
    --------
    >>> data = draw_prompts(dimension=4, context=8, prompts=3, rng=np.random.default_rng(1))
    >>> data.context.shape, data.query.shape, data.label.shape, data.spins
    ((3, 5), (3, 4), (3,), 20)
    """
    law = PromptLaw(
        dimension=dimension,
        context=context,
        prompts=prompts,
        label_noise=label_noise,
        norm=norm,
        last_feature=last_feature,
        last_row=last_row,
        labels=labels,
    )
    dimension, context, prompts, label_noise = law.dimension, law.context, law.prompts, law.label_noise
    check_memory(
        8.0 * _ARRAYS * prompts * (dimension + 1),
        what=f"{prompts} prompts of dimension {dimension}",
        remedy="take fewer prompts or a smaller dimension",
    )
    method = check_choice("method", method, METHODS)
    check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")

    covariance, factor = (None, None) if token_covariance is None else _covariance(token_covariance, dimension)
    correlation = None if token_correlation is None else correlation_of(token_correlation, context)
    if correlation is not None and law.labels == "sign" and method == METHODS[0]:
        raise ParameterError(f"token_correlation with sign labels has no reduced law: use method = {METHODS[1]!r}")
    task, pool, eigenvalues = _tasks(dimension, prompts, tasks, spectrum, rng)
    query = rng.standard_normal((prompts, dimension))
    if factor is not None:
        query = query @ factor.T
    label = np.einsum("pd,pd->p", task, query) / np.sqrt(dimension)
    label += np.sqrt(label_noise) * rng.standard_normal(prompts)
    if law.labels == "sign":
        label = signs(label)
    scores = _contexts(law, task, method, factor, rng, correlation)
    drawn = (scores, query, label, context, label_noise, norm, pool, eigenvalues, covariance)
    return Prompts(*drawn, last_feature=law.last_feature, labels=law.labels)


def draw_contexts(
    law: PromptLaw, *, tasks: FloatArray | None = None, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Tasks w, (P, D), and contexts U, (P, rows), of P prompts of a law whose queries are integrated over.

    tasks : a pool; by default new isotropic tasks.
    """
    task, _, _ = _tasks(law.dimension, law.prompts, tasks, None, rng)
    return task, _contexts(law, task, "reduced", None, rng)


def _contexts(
    law: PromptLaw,
    task: FloatArray,
    method: str,
    factor: FloatArray | None,
    rng: np.random.Generator,
    correlation: FloatArray | None = None,
) -> FloatArray:
    """U, (P, rows), given the tasks; factor L of the tokens' covariance, their correlation along the prompt."""
    dimension, sign = law.dimension, law.labels == "sign"
    scores = np.empty((task.shape[0], law.layer.rows(dimension)))
    if method == "tokens":
        token_sums(scores, task, law.context, law.label_noise, factor, sign, rng, correlation)
    else:
        seen = task if factor is None else task @ factor
        reduced_sums(scores, seen, law.context, law.label_noise, sign, rng, correlation)
        if factor is not None:
            scores[:, :dimension] = scores[:, :dimension] @ factor.T
    scores /= divisor(law.context, law.norm)
    scores[:, dimension:] *= law.layer.scale(dimension)
    return scores


def _covariance(value: ArrayLike, dimension: int) -> tuple[FloatArray, FloatArray]:
    """A token covariance, checked, and its lower Cholesky factor."""
    covariance = doubles("token_covariance", value)
    if covariance.shape != (dimension, dimension):
        raise ParameterError(f"token_covariance must have shape {(dimension, dimension)}, got {covariance.shape}")
    if not np.all(np.isfinite(covariance)):
        raise ParameterError("token_covariance must be finite")
    # a product L L^T is symmetric up to rounding only
    if np.max(np.abs(covariance - covariance.T)) > 1e-12 * np.max(np.abs(covariance)):
        raise ParameterError("token_covariance must be symmetric: a factor L of it is not, pass L @ L.T")
    try:
        factor = np.linalg.cholesky(covariance).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        lowest = float(np.linalg.eigvalsh(covariance)[0])
        raise ParameterError(
            f"token_covariance must be positive definite, its smallest eigenvalue is {lowest:.3g}"
        ) from error
    return covariance, factor


def _tasks(
    dimension: int,
    prompts: int,
    tasks: FloatArray | None,
    spectrum: ArrayLike | None,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """One task a prompt, (P, D); and the pool, or the variances, that they come from."""
    if tasks is None:
        own = draw_pool(dimension=dimension, count=prompts, spectrum=spectrum, rng=rng)
        return own, None, None if spectrum is None else eigenvalues_of(spectrum, dimension)
    if spectrum is not None:
        raise ParameterError("spectrum is of tasks of their own: draw the pool with it, and leave it out here")
    pool = doubles("tasks", tasks)
    if pool.ndim != 2 or pool.shape[0] == 0 or pool.shape[1] != dimension:
        raise ParameterError(f"tasks must have shape (K, {dimension}) with K >= 1, got {pool.shape}")
    if not np.all(np.isfinite(pool)):
        raise ParameterError("tasks must be finite")
    return pool[rng.integers(pool.shape[0], size=prompts)], pool, None
