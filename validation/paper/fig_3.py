r"""SG Fig. 3: the energy landscape of the weights at few (P = 10) and many (P = 1000) prompts.

The paper's picture: weights W with independent N(0, 1) entries, masked ones included, laid out in the plane by t-SNE
(scikit-learn), with their energies interpolated between them. Its energy adds the diagonal of J twice,

    -(1/2) sum_{all i, j} J_ij W_i W_j - h.W + (1/2) sum_i lambda_i W_i^2 = H - const + (1/2) sum_i (S^T S/P)_ii W_i^2

A better one: H is quadratic, so around the ground state W0 it is the sum of parabolas along the eigenvectors e_k of
A = S^T S/P + lambda0,

    H(W0 + t e_k) - H(W0) = eps_k t^2/2

and P prompts bend at most P of the n = D(D+1) directions: n - P flat ones are left, where eps = lambda0, besides the
D + 1 masked spins (`numerics.spectrum.zero_eigenvalue_fraction`). The parabolas are drawn and tested with energies
computed from the residuals, not from A. Over W of independent N(0, 1) entries the mean of H is (E y_t^2 + Tr A)/2 with
the mean of the labels of the data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.instance.spin_glass import energy, hessian
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.spectrum import zero_eigenvalue_fraction
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, Judged, PaperFigure, Verdict
from iclglass.validation.paper.judging import means, one_by_one
from iclglass.validation.paper.published import of_shape
from iclglass.validation.paper.simulating import Compute, simulated
from iclglass.validation.prompts import draw_prompts

__all__ = ["FIGURE"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
ZERO = 1e-5
"""Eigenvalues of S^T S/P below this count as zero, as in SG Fig. S7."""
ROUNDING = 1e-9
"""Of the parabolas, relative to the stiffest one: the energies are sums over prompts in double precision."""
STEPS = 41
_ENERGIES = (("energy", "energy_doubled"), ("mean_energy", "mean_doubled"))
"""What is simulated, and what its mean should be."""
PUBLISHED = tuple(f"fig-3/data/z-{number}.npy" for number in (1, 2))
INSTALL = "the t-SNE picture needs scikit-learn: pip install 'iclglass[benchmarks]', then run again with --force"


def parameters(scale: str) -> dict[str, Any]:
    """The paper's; at "quick" the interpolation between the points of t-SNE is coarser."""
    return {
        "dimension": 10,
        "context": 50,
        "prompts": [10, 1000],
        "ridge0": 0.01,
        "weights": 1000,
        "grid": 200 if scale == "full" else 60,
    }


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """One part for each P."""
    return simulated(compute, ({"prompts": given["prompts"]}, partial(_one, given, seed)))


def _one(given: Mapping[str, Any], seed: int, prompts: int) -> xr.Dataset:
    size, ridge0 = given["dimension"], given["ridge0"]
    rng = np.random.default_rng([seed, 3, prompts])
    data = draw_prompts(dimension=size, context=given["context"], prompts=prompts, rng=rng)
    matrix = hessian(data)
    bent, vectors = np.linalg.eigh(matrix)
    fields = data.features.adjoint(data.label).ravel() / prompts
    ground = vectors @ ((vectors.T @ fields) / (np.maximum(bent, 0) + ridge0))

    def height(weights: FloatArray) -> float:
        return energy(data, weights.reshape(size + 1, size), ridge0)

    lowest, soft, stiff = height(ground), vectors[:, 0], vectors[:, -1]
    steps = np.linspace(-1, 1, STEPS) * math.sqrt(size)
    along = np.array([[height(ground + step * one) for step in steps] for one in (soft, stiff)]) - lowest
    plane = np.array([[height(ground + x * soft + y * stiff) for x in steps] for y in steps]) - lowest
    every = np.array([height(ground + vector) for vector in vectors.T]) - lowest

    weights = rng.standard_normal((given["weights"], size + 1, size + 1))
    active = weights[:, :, :-1]
    energies = np.array([height(one) for one in active]) + ridge0 / 2 * np.sum(weights[:, :, -1] ** 2, axis=1)
    constant = float(np.mean(data.label**2)) / 2
    doubled = energies - constant + active.reshape(len(active), -1) ** 2 @ np.diagonal(matrix) / 2
    mean = constant + (np.trace(matrix) + (size + 1) ** 2 * ridge0) / 2
    x, y, surface = _embedded(weights.reshape(len(weights), -1), doubled, given["grid"], seed)
    return xr.Dataset(
        {
            "curvature": ("direction", bent),
            "unit_step": ("direction", every),
            "along": (("end", "step"), along),
            "plane": (("y_step", "step"), plane),
            "energy": ("weight", energies),
            "energy_doubled": ("weight", doubled),
            "mean_energy": ((), mean),
            "mean_doubled": ((), mean - constant + np.trace(matrix) / 2),
            "tsne_x": ("grid_x", x),
            "tsne_y": ("grid_y", y),
            "tsne_energy": (("grid_y", "grid_x"), surface),
        },
        coords={"step": steps, "y_step": steps},
        attrs={name: given[name] for name in ("dimension", "context", "ridge0")},
    )


def _embedded(weights: FloatArray, energies: FloatArray, grid: int, seed: int) -> tuple[FloatArray, ...]:
    """The plane of t-SNE and the energies interpolated over it as SG do; NaN without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        nothing = np.full(grid, math.nan)
        return nothing, nothing, np.full((grid, grid), math.nan)
    from scipy.interpolate import RBFInterpolator
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # on busy cores its threads wait for each other
        placed = TSNE(random_state=seed % 2**32).fit_transform(weights.astype(np.float32))
    points = placed.astype(np.float64)
    x, y = (np.linspace(column.min(), column.max(), grid) for column in points.T)
    smooth = RBFInterpolator(points, energies, neighbors=100, smoothing=50, kernel="linear")
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return x, y, smooth(places).reshape(grid, grid)


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Flat directions counted and predicted, parabolas, and the mean energy of random weights."""
    size, ridge0 = int(data.attrs["dimension"]), float(data.attrs["ridge0"])
    spins = size * (size + 1)
    rows, counts, exact = [], [], True
    for prompts in data["prompts"].values:
        one = data.sel(prompts=prompts)
        names = ("mean energy of random weights", "the same with SG's doubled diagonal")
        samples, wanted = ([one[kind].values for kind in pair] for pair in _ENERGIES)
        rows += means([f"{name}, P = {prompts}" for name in names], samples, wanted)
        bent = one["curvature"].values
        flat = int(np.sum(bent < ZERO))
        masked = round(zero_eigenvalue_fraction(dimension=size, prompts=int(prompts)) * (size + 1) ** 2)
        predicted = masked - (size + 1)
        counts.append(f"{flat} flat directions of {spins} at P = {prompts} ({predicted} predicted)")
        deviation = np.max(np.abs(one["unit_step"].values - (bent + ridge0) / 2)) / np.max(bent)
        exact = exact and flat == predicted and bool(deviation < ROUNDING)
    energies = one_by_one(rows, data.sizes["weight"] - 1, false_alarm=FALSE_ALARM)
    remarks = [] if _has_embedding(data) else [INSTALL]
    remarks.append(
        "the weights laid out by t-SNE are independent draws of no relation to the data, all at nearly the same "
        f"distance from each other (sqrt(2 n), within {100 / math.sqrt(2 * (size + 1) ** 2):.0f} %): hills and "
        "valleys of that picture are not minima of the energy, which has one valley; its energy is SG's, with the "
        "diagonal of J twice"
    )
    remarks += _against_published(data, published)
    return Verdict(
        f"{'; '.join(counts)}; parabolas along all eigenvectors {'hold' if exact else 'DO NOT HOLD'} to rounding; mean "
        f"energies of random weights: {energies}",
        tuple(rows),
        (Judged("flat directions and parabolas", not exact, 0.0), energies.judged("mean energies of random weights")),
        tuple(remarks),
    )


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> list[str]:
    """The level of the published surfaces against both countings, averaged over data sets."""
    dimension, ridge0 = int(data.attrs["dimension"]), float(data.attrs["ridge0"])
    moments = feature_moments(dimension=dimension, context=int(data.attrs["context"]), label_noise=0.0, norm="N")
    trace = dimension * (moments.block + moments.last_row)
    ridge = (dimension + 1) ** 2 * ridge0
    remarks = []
    for name, prompts in zip(PUBLISHED, data["prompts"].values, strict=True):
        surface = of_shape(published, name, (200, 200))
        if surface is not None:
            remarks.append(
                f"published {name} (P = {prompts}): mean level {surface.mean():.2f}; expected over data sets "
                f"{ridge / 2 + trace:.2f} with the diagonal twice, {(ridge + trace) / 2:.2f} once"
            )
    return remarks


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """For each P: the paper's picture, the energy over the softest and stiffest directions, all curvatures.

    Without the embedding, which needs scikit-learn, there is no first column.
    """
    from matplotlib.colors import LogNorm

    embedded = _has_embedding(data)
    columns, width = (3, 11.5) if embedded else (2, 8.4)
    figure, panels = panelled(width, 6.6, data.sizes["prompts"], columns, squeeze=False)
    ridge0, highest = float(data.attrs["ridge0"]), float(data["plane"].max())
    for (*first, plane, curvature), prompts in zip(panels, data["prompts"].values, strict=True):
        one = data.sel(prompts=prompts)
        for panel in first:
            dress(panel, f"$P = {prompts}$: the paper's picture, t-SNE", grid=False, xticks=[], yticks=[])
            filled = panel.contourf(one["tsne_x"], one["tsne_y"], one["tsne_energy"], 16, cmap="viridis")
            figure.colorbar(filled, ax=panel, label="energy, diagonal of $J$ twice")

        norm = LogNorm(1e-3 * highest, highest)
        shown = np.maximum(one["plane"].values, 1e-3 * highest)
        mesh = plane.pcolormesh(data["step"], data["y_step"], shown, cmap="viridis", norm=norm, rasterized=True)
        plane.plot(0, 0, "x", color="white", markersize=8, markeredgewidth=2)
        labels = {"xlabel": "along the softest eigenvector", "ylabel": "along the stiffest"}
        dress(plane, f"$P = {prompts}$: around the minimum (cross)", grid=False, **labels)
        figure.colorbar(mesh, ax=plane, label=r"$H - H_0$")

        bent = np.sort(one["curvature"].values)[::-1] + ridge0
        index = np.arange(1, bent.size + 1)
        twice = np.sort(2 * one["unit_step"].values)[::-1]
        label = r"$2(H(W_0 + e_k) - H_0)$, from residuals"
        curvature.axhline(ridge0, color="0.4", linestyle="--", label=r"$\lambda_0$: flat", zorder=1)
        # small dots upon wide ones: both are seen where they stand close
        curvature.semilogy(index, twice, "o", color=PALETTE[4], markersize=7, label=label, zorder=2)
        curvature.semilogy(index, bent, ".", color=PALETTE[0], markersize=4, label=r"$\epsilon_k$", zorder=3)
        if prompts < bent.size:
            label = f"predicted: {bent.size - prompts} flat beyond $P$"
            curvature.axvline(prompts + 0.5, ymax=0.65, color=PALETTE[2], label=label)
        limits = (ridge0 / 2, 30 * bent.max())
        title = f"$P = {prompts}$: curvatures"
        dress(curvature, title, grid=False, ylim=limits, xlabel="eigenvector", ylabel="curvature")
        curvature.legend(fontsize="small", loc="upper right")
    return figure


def _has_embedding(data: xr.Dataset) -> bool:
    return bool(np.all(np.isfinite(data["tsne_energy"].values)))


FIGURE = PaperFigure("fig-3", "Energy landscape", parameters, simulate, draw, judge, PUBLISHED)
