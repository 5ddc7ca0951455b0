r"""The law of a prompt's context sums C = sum_k y_k (x_k, y_k), at cost O(D) a prompt; and the same token by token.

The idea of the law is in LU's code for rho = 0; the rest is this project's.

Condition on w; write n = w/|w|, t = |w|/sqrt(D), and split each token as x_k = g_k n + z_k, with z_k
orthogonal to n. The g_k ~ N(0, 1) and the z_k (standard normal in the D - 1 dimensions orthogonal to w) are
independent. Collect the tokens' components in g = (g_1..g_N) and the noise in eps. The label vector is
y = t g + sqrt(rho) eps: it does not depend on the z_k.

1. Split the noise along and across g: e = eps.g/|g| ~ N(0, 1) and |eps - e g/|g||^2 = X3 ~ chi2_{N-1}
   (0 for N = 1), both independent of g, whose squared norm is X1 ~ chi2_N.
2. With r = t sqrt(X1) + sqrt(rho) e, the component of y along g/|g|:

       y.g   = sqrt(X1) r                = t X1 + sqrt(rho X1) e
       |y|^2 = r^2 + rho X3              = t^2 X1 + 2 t sqrt(rho X1) e + rho (e^2 + X3)

3. The component of (C_1..C_D) along n is sum_k y_k g_k = y.g. The rest is sum_k y_k z_k: given y, a sum of
   independent normals, that is |y| times one standard normal vector orthogonal to w. And C_{D+1} = |y|^2.

Correlated tokens: x_k = L g_k and X = L g_t with L L^T the token covariance and g isotropic. Then
w.x_k = (L^T w).g_k: the labels are those of isotropic tokens with the task L^T w, C_{D+1} is theirs, (C_1..C_D) is L
times theirs, and so is the query. O(P D^2) for P prompts.

So (X1, e, X3) and one normal vector replace N D normals, for any N. The sums of squares are written in the
factored form of step 2, which cannot become negative by rounding.

Sign labels, y = sign(w.x/sqrt(D) + sqrt(rho) eps) of context and query (+1 at zero). With h_k = (t g_k + sqrt(rho)
eps_k)/s ~ N(0, 1), s^2 = t^2 + rho, y_k = sign h_k and g_k = (t/s) h_k + (sqrt(rho)/s) e_k, e_k ~ N(0, 1) independent:

    y.g = (t/s) sum_k |h_k| + (sqrt(rho)/s) sqrt(N) e,        |y|^2 = N,

and the rest is as in step 3: N + 1 + D normals a prompt.

Tokens correlated along the prompt, Cov(x_k, x_l) = C_kl 1: in the eigenbasis of C the labels are
sqrt(c_i t^2 + rho) z_i, z standard normal, and with a_n = sum_i c_i^(n-1) z_i^2 (`numerics.token_law`)

    y.g = t a_2 + sqrt(rho a_2) e,        |y|^2 = t^2 a_2 + rho a_1,

and each component across w is sqrt(t^2 a_3 + rho a_2) times a standard normal: N + 1 + D normals a prompt, for linear
labels.
"""

from collections.abc import Iterator

import numpy as np

from iclglass.numerics.arguments import FloatArray

__all__ = ["reduced_sums", "signs", "token_sums"]

_CHUNK_ELEMENTS = 1 << 20
"""Tokens' entries held at once by method "tokens": bounds its memory whatever N is."""


def signs(values: FloatArray) -> FloatArray:
    """+-1, and +1 at zero."""
    return np.where(values >= 0, 1.0, -1.0)


def reduced_sums(
    result: FloatArray,
    task: FloatArray,
    context: int,
    label_noise: float,
    sign: bool,
    rng: np.random.Generator,
    correlation: FloatArray | None = None,
) -> None:
    """C, (P, rows), from its law given the tasks; the steps are those of the module's docstring.

    correlation : (N, N) of tokens along the prompt; linear labels.
    """
    prompts, dimension = task.shape
    length = np.sqrt(np.einsum("pd,pd->p", task, task))
    strength = length / np.sqrt(dimension)
    if correlation is None:
        scores_along = _signs_along if sign else _labels_along
        along, label_square = scores_along(strength, context, label_noise, rng)
        variance = label_square
    else:
        along, label_square, variance = _correlated_along(strength, correlation, label_noise, rng)
    for part in _parts(prompts, 64 * dimension):
        # The task zero has no direction: nothing is projected out, which is its law (t = 0).
        direction = task[part] / np.where(length[part] > 0, length[part], 1.0)[:, None]
        normal = rng.standard_normal(direction.shape)
        normal -= np.einsum("pd,pd->p", normal, direction)[:, None] * direction
        normal *= np.sqrt(variance[part])[:, None]
        direction *= along[part, None]
        np.add(normal, direction, out=result[part, :dimension])
    result[:, dimension:] = label_square[:, None]


def _labels_along(
    strength: FloatArray, context: int, label_noise: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """y.g and |y|^2, (P,) each, for t = |w|/sqrt(D)."""
    prompts = strength.size
    along = np.sqrt(rng.chisquare(context, prompts))  # |g| = sqrt(X1)
    noise = np.sqrt(label_noise) * rng.standard_normal(prompts)  # sqrt(rho) e
    across = rng.chisquare(context - 1, prompts) if context > 1 else np.zeros(prompts)  # X3
    projection = strength * along + noise  # r
    return along * projection, projection**2 + label_noise * across


def _signs_along(
    strength: FloatArray, context: int, label_noise: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """The same for sign labels."""
    size = np.sqrt(strength**2 + label_noise)
    # at t = rho = 0 all labels are +1, and say nothing of g
    share = np.divide(strength, size, out=np.zeros_like(size), where=size > 0)
    sums = np.empty_like(strength)
    for part in _parts(strength.size, context):
        sums[part] = np.sum(np.abs(rng.standard_normal((part.stop - part.start, context))), axis=1)
    noise = np.sqrt(context * (1 - share**2)) * rng.standard_normal(strength.size)
    return share * sums + noise, np.full_like(strength, context)


def _correlated_along(
    strength: FloatArray, correlation: FloatArray, label_noise: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """y.g, |y|^2 and the variance of what is across w, (P,) each."""
    values = np.clip(np.linalg.eigvalsh(correlation), 0, None)
    powers = values[:, None] ** np.arange(3)
    sums = np.empty((strength.size, 3))
    for part in _parts(strength.size, values.size):
        sums[part] = rng.standard_normal((part.stop - part.start, values.size)) ** 2 @ powers
    one, two, three = sums.T
    along = strength * two + np.sqrt(label_noise * two) * rng.standard_normal(strength.size)
    return along, strength**2 * two + label_noise * one, strength**2 * three + label_noise * two


def token_sums(
    result: FloatArray,
    task: FloatArray,
    context: int,
    label_noise: float,
    factor: FloatArray | None,
    sign: bool,
    rng: np.random.Generator,
    correlation: FloatArray | None = None,
) -> None:
    """C, (P, rows), from all N tokens of each prompt, a few prompts at a time.

    factor : L of the covariance of a token's components.    correlation : (N, N) along the prompt.
    """
    prompts, dimension = task.shape
    root = None if correlation is None else _root(correlation)
    for part in _parts(prompts, context * dimension):
        tokens = rng.standard_normal((part.stop - part.start, context, dimension))
        if factor is not None:
            tokens = tokens @ factor.T
        if root is not None:
            tokens = root @ tokens
        labels = np.einsum("pkd,pd->pk", tokens, task[part]) / np.sqrt(dimension)
        labels += np.sqrt(label_noise) * rng.standard_normal(labels.shape)
        if sign:
            labels = signs(labels)
        result[part, :dimension] = np.einsum("pk,pkd->pd", labels, tokens)
        result[part, dimension:] = np.einsum("pk,pk->p", labels, labels)[:, None]


def _root(correlation: FloatArray) -> FloatArray:
    """The symmetric square root of a matrix that may be singular."""
    values, vectors = np.linalg.eigh(correlation)
    found: FloatArray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return found


def _parts(prompts: int, elements: int) -> Iterator[slice]:
    """A few prompts at a time, of so many elements each: nothing beside the data set itself is of its size."""
    step = max(1, _CHUNK_ELEMENTS // elements)
    return (slice(start, min(start + step, prompts)) for start in range(0, prompts, step))
