"""Order parameters and errors of one data set, in the scaled variables of the theory.

With lambda0 = ridge/D and beta = D^2/temperature, W the exact mean weights, "block" their first D
rows, "last" the last row, A = S^T S/P + lambda0:

    m = Tr W_block/D       q = |W_block|^2/D       chi = Tr_block A^{-1}/D^3       q_self = q + T chi
    e_icl = E (y_t - s.W)^2 over a new prompt with a new task
          = label - 2 signal m + block q + last_row |W_last|^2 for isotropic tasks
    e_icl_gibbs = e_icl + (T/D^2) sum_i E[u_i^2] Tr_row i A^{-1},
                  the mean of the same for weights drawn from exp(-beta H)
    e_idg = the same over a new prompt of the pretraining law: of the data set's own pool, if there is one
    e_train = mean over the data set of (y_t - s.W)^2
    energy = <H> = H(W) + n T/(2 D^2)              (H is of order one: it is a mean over prompts)
    contrast = sum_i W_ii/(sqrt(D+1) |W|)          (SG Fig. 4a), D in the place of D+1 without last row
    free_energy = -(T/D^2) ln Z                    entropy = (energy - free_energy)/T

`validation.population` gives the second moments of a prompt exactly at finite D and N, so e_icl and e_idg are
population errors, free of sampling noise over test prompts.

The measure of ln Z. The theory integrates over sqrt(D) W on the block. The last row is not part of the theory
at D -> infinity, and A is of order one there, not 1/D: its spins are of order 1/D and their natural variable
is D W. With sqrt(D) W for the last row too, ln Z/D^2 would carry -ln(D)/(2D), which vanishes as D -> infinity
but is no power of 1/D, and no extrapolation in powers of 1/D could remove it. The choice sets the zero of the
entropy of D among D(D+1) spins; it changes no derivative of the free energy. Where the last feature is multiplied by s
(`numerics.last_row`) the variable is D s W, and without last row there is none.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from iclglass.numerics.arguments import FloatArray, check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_observables import log_units
from iclglass.numerics.instance.linear_response import linear_response
from iclglass.numerics.instance.predictions import alignment, contrast_ratio, overlap, train_error
from iclglass.numerics.sizes import to_unscaled
from iclglass.validation.pools import eigenvalues_of
from iclglass.validation.population import PromptMoments, gaussian_moments, pool_moments, population_error
from iclglass.validation.prompts import Prompts

__all__ = ["QUANTITIES", "Observables", "measure", "weight_quantities"]


@dataclass(frozen=True)
class Observables:
    """Quantities of one data set; names and scaling are those of `numerics.solution.Solution`.

    NaN where the quantity does not exist (entropy at T = 0), inf where it diverges (chi for ridge = 0 and P
    < n).
    """

    m: float
    q: float
    q_self: float
    chi: float
    e_icl: float
    e_icl_gibbs: float
    e_idg: float
    e_train: float
    contrast: float
    free_energy: float
    energy: float
    entropy: float


QUANTITIES: tuple[str, ...] = tuple(field.name for field in fields(Observables))


def measure(
    prompts: Prompts,
    *,
    ridge: float,
    temperature: float = 0.0,
    method: str = "auto",
    test_spectrum: ArrayLike | None = None,
    test_context: int | None = None,
) -> Observables:
    """Measure every quantity of one data set.

    Parameters
    ----------
    prompts : Prompts
    ridge, temperature : float
        The scaled ones, D lambda0 >= 0 and D^2/beta >= 0. With ridge = 0 and fewer prompts than spins the weights are
        those of minimum norm, and the temperature must be 0: the measure cannot be normalised.
    method : str
        Of `numerics.instance.linear_response.linear_response`.
    test_spectrum : (D,) array_like, optional
        e_icl is for new tasks w_i ~ N(0, test_spectrum_i), by default of variance 1 whatever the pretraining.
    test_context : int, optional
        Tokens of the prompts of e_icl, by default as in pretraining.

    Returns
    -------
    Observables

    Raises
    ------
    ParameterError, ParameterTypeError
        A value out of range, or a measure that cannot be normalised.

    Examples
    --------
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=8, context=16, prompts=128, rng=np.random.default_rng(1))
    >>> found = measure(data, ridge=0.1)
    >>> found.q_self == found.q, found.e_train < found.e_icl
    (True, True)
    """
    ridge = check_real("ridge", ridge, minimum=0.0)
    temperature = check_real("temperature", temperature, minimum=0.0)
    dimension, spins = prompts.dimension, prompts.spins
    if prompts.token_covariance is not None:
        raise ParameterError(
            "the population errors are those of isotropic tokens: draw prompts without token_covariance"
        )
    ridge0 = to_unscaled(dimension, ridge=ridge)["ridge0"]
    if temperature > 0 and ridge == 0 and prompts.prompts < spins:
        raise ParameterError(
            f"ridge = 0 with {prompts.prompts} prompts and {spins} spins at temperature {temperature:g}: the "
            "measure cannot be normalised; use ridge > 0, more prompts or temperature 0"
        )
    isotropic = test_spectrum is None
    tested = _moments_of_new_tasks(prompts, test_spectrum, test_context)
    response = linear_response(prompts, ridge0, method, diagonal=temperature > 0 and not isotropic)
    weights = response.weights
    of_mean = weight_quantities(prompts, weights, tested)
    q, e_icl = of_mean["q"], of_mean["e_icl"]
    chi = response.block_trace / dimension**3
    energy = (of_mean["e_train"] + ridge0 * float(np.sum(weights**2))) / 2
    if temperature == 0:
        cold = {"q_self": q, "chi": chi, "e_icl_gibbs": e_icl}
        return Observables(**of_mean, **cold, free_energy=energy, energy=energy, entropy=math.nan)

    variances = np.diagonal(tested.second)
    if isotropic or response.row_traces is None:  # the rows of the block are alike
        # without last row its trace is 0
        spread = float(variances[0] * response.block_trace + variances[-1] * response.last_row_trace)
    else:
        spread = float(variances @ response.row_traces)
    # ln Z = -beta H(W) + sum of (1/2) ln(2 pi T/D^2) - (1/2) ln det A, plus the logarithm of the spins' units
    units = float(log_units(dimension, prompts.layer.scale(dimension)))
    log_gaussian = 0.5 * (spins * math.log(2 * math.pi * temperature / dimension**2) - response.log_determinant)
    free_energy = energy - temperature / dimension**2 * (log_gaussian + units)
    mean_energy = energy + spins * temperature / (2 * dimension**2)
    return Observables(
        **of_mean,
        q_self=q + temperature * chi,
        chi=chi,
        e_icl_gibbs=e_icl + temperature / dimension**2 * spread,
        free_energy=free_energy,
        energy=mean_energy,
        entropy=(mean_energy - free_energy) / temperature,
    )


def weight_quantities(prompts: Prompts, weights: FloatArray, tested: PromptMoments | None = None) -> dict[str, float]:
    """m, q, e_icl, e_idg, e_train and contrast of weights W, however they were found.

    tested: moments of a test prompt, by default with a new isotropic task and as many tokens as in pretraining.

    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=4, context=8, prompts=3, rng=np.random.default_rng(1))
    >>> weight_quantities(data, np.zeros((5, 4)))["e_icl"]
    1.0
    """
    if prompts.labels != "linear":
        raise ParameterError("these are the errors of linear labels: for signs see validation.model_observables")
    tested = _moments_of_new_tasks(prompts) if tested is None else tested
    return {
        "m": alignment(weights),
        "q": overlap(weights),
        "e_icl": population_error(weights, tested),
        "e_idg": population_error(weights, _pretraining_moments(prompts)),
        "e_train": train_error(prompts, weights),
        "contrast": contrast_ratio(weights),
    }


def _law(prompts: Prompts, context: int | None = None) -> dict[str, Any]:
    tokens = prompts.context_count if context is None else context
    return {"context": tokens, "label_noise": prompts.label_noise, "norm": prompts.norm, **prompts.layer.to_dict()}


def _moments_of_new_tasks(
    prompts: Prompts, spectrum: ArrayLike | None = None, context: int | None = None
) -> PromptMoments:
    """Of a prompt with a new task of the given law, isotropic by default."""
    size = prompts.dimension
    return gaussian_moments(
        np.ones(size) if spectrum is None else eigenvalues_of(spectrum, size), **_law(prompts, context)
    )


def _pretraining_moments(prompts: Prompts) -> PromptMoments:
    """Of a new prompt of the law that the data set was drawn from."""
    if prompts.tasks is not None:
        return pool_moments(prompts.tasks, **_law(prompts))
    return _moments_of_new_tasks(prompts, prompts.spectrum)
