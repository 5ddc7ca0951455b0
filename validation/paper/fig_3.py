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
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from iclglass.numerics.instance.spin_glass import energy, hessian
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.spectrum import zero_eigenvalue_fraction
from iclglass.validation.paper.figure import (
    Array,
    Judged,
    PaperFigure,
    Progress,
    Verdict,
    compared,
    in_parts,
    one_by_one,
)
from iclglass.validation.paper.published import of_shape
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURE"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
ZERO = 1e-5
"""Eigenvalues of S^T S/P below this count as zero, as in SG Fig. S7."""
ROUNDING = 1e-9
"""Of the parabolas, relative to the stiffest one: the energies are sums over prompts in double precision."""
STEPS = 41
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


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """One part for each P."""
    settings = FIGURE.checked_parameters(scale)
    parts = in_parts(progress, {f"P={count}": partial(_one, settings, count, seed) for count in settings["prompts"]})
    return xr.concat(parts, dim=xr.DataArray(settings["prompts"], dims="prompts", name="prompts"))


def _one(settings: Mapping[str, Any], prompts: int, seed: int) -> xr.Dataset:
    dimension, ridge0 = settings["dimension"], settings["ridge0"]
    rng = np.random.default_rng([seed, 3, prompts])
    data = draw_prompts(dimension=dimension, context=settings["context"], prompts=prompts, rng=rng)
    matrix = hessian(data)
    bent, vectors = np.linalg.eigh(matrix)
    fields = data.features.adjoint(data.label).ravel() / prompts
    ground = vectors @ ((vectors.T @ fields) / (np.maximum(bent, 0) + ridge0))
    shape = (dimension + 1, dimension)
    lowest = energy(data, ground.reshape(shape), ridge0)

    steps = np.linspace(-1, 1, STEPS) * math.sqrt(dimension)
    along = np.array(
        [
            [energy(data, (ground + step * vectors[:, k]).reshape(shape), ridge0) - lowest for step in steps]
            for k in (0, -1)
        ]
    )
    every = np.array([energy(data, (ground + vector).reshape(shape), ridge0) - lowest for vector in vectors.T])
    plane = np.array(
        [
            [
                energy(data, (ground + x * vectors[:, 0] + y * vectors[:, -1]).reshape(shape), ridge0) - lowest
                for x in steps
            ]
            for y in steps
        ]
    )

    weights = rng.standard_normal((settings["weights"], dimension + 1, dimension + 1))
    active = weights[:, :, :-1]
    masked = ridge0 / 2 * np.sum(weights[:, :, -1] ** 2, axis=1)
    energies = np.array([energy(data, one, ridge0) for one in active]) + masked
    constant = float(np.mean(data.label**2)) / 2
    doubled = energies - constant + active.reshape(len(active), -1) ** 2 @ np.diagonal(matrix) / 2
    mean = constant + (np.trace(matrix) + (dimension + 1) ** 2 * ridge0) / 2
    x, y, surface = _embedded(weights.reshape(len(weights), -1), doubled, settings["grid"], seed)
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
        attrs={"dimension": dimension, "context": settings["context"], "ridge0": ridge0},
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
    dimension, ridge0 = int(data.attrs["dimension"]), float(data.attrs["ridge0"])
    spins = dimension * (dimension + 1)
    rows, counts, exact = [], [], True
    for prompts in data["prompts"].values:
        one = data.sel(prompts=prompts)
        for name, mean, what in (
            ("energy", "mean_energy", "mean energy of random weights"),
            ("energy_doubled", "mean_doubled", "the same with SG's doubled diagonal"),
        ):
            found, error = mean_and_error(one[name].values)
            rows.append(compared(f"{what}, P = {prompts}", float(found), float(one[mean]), float(error)))
        bent = one["curvature"].values
        flat = int(np.sum(bent < ZERO))
        masked = round(zero_eigenvalue_fraction(dimension=dimension, prompts=int(prompts)) * (dimension + 1) ** 2)
        predicted = masked - (dimension + 1)
        counts.append(f"{flat} flat directions of {spins} at P = {prompts} ({predicted} predicted)")
        deviation = np.max(np.abs(one["unit_step"].values - (bent + ridge0) / 2)) / np.max(bent)
        exact = exact and flat == predicted and bool(deviation < ROUNDING)
    dof = data.sizes["weight"] - 1
    energies = one_by_one(rows, bonferroni_threshold(FALSE_ALARM, len(rows), dof), dof)
    remarks = []
    if not _has_embedding(data):
        remarks.append(INSTALL)
    remarks.append(
        "the weights laid out by t-SNE are independent draws of no relation to the data, all at nearly the same "
        f"distance from each other (sqrt(2 n), within {100 / math.sqrt(2 * (dimension + 1) ** 2):.0f} %): hills and "
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
    from matplotlib.figure import Figure

    embedded = _has_embedding(data)
    columns = 3 if embedded else 2
    figure = Figure(figsize=(11.5 if embedded else 8.4, 6.6), layout="constrained")
    panels = figure.subplots(data.sizes["prompts"], columns, squeeze=False)
    ridge0 = float(data.attrs["ridge0"])
    highest = float(data["plane"].max())
    for row, prompts in zip(panels, data["prompts"].values, strict=True):
        one = data.sel(prompts=prompts)
        if embedded:
            _draw_embedded(row[0], one)
            row[0].set_title(f"$P = {prompts}$: the paper's picture, t-SNE", fontsize="medium")
        plane, curvature = row[-2:]

        norm = LogNorm(1e-3 * highest, highest)
        shown = np.maximum(one["plane"].values, 1e-3 * highest)
        mesh = plane.pcolormesh(data["step"], data["y_step"], shown, cmap="viridis", norm=norm, rasterized=True)
        plane.plot(0, 0, "x", color="white", markersize=8, markeredgewidth=2)
        plane.set_xlabel("along the softest eigenvector")
        plane.set_ylabel("along the stiffest")
        plane.set_title(f"$P = {prompts}$: around the minimum (cross)", fontsize="medium")
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
            curvature.axvline(
                prompts + 0.5, ymax=0.65, color=PALETTE[2], label=f"predicted: {bent.size - prompts} flat beyond $P$"
            )
        curvature.set_ylim(ridge0 / 2, 30 * bent.max())
        curvature.set_xlabel("eigenvector")
        curvature.set_ylabel("curvature")
        curvature.set_title(f"$P = {prompts}$: curvatures", fontsize="medium")
        curvature.legend(fontsize="small", loc="upper right")
    return figure


def _has_embedding(data: xr.Dataset) -> bool:
    return bool(np.all(np.isfinite(data["tsne_energy"].values)))


def _draw_embedded(panel: Axes, one: xr.Dataset) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    filled = panel.contourf(one["tsne_x"], one["tsne_y"], one["tsne_energy"], 16, cmap="viridis")
    panel.figure.colorbar(filled, ax=panel, label="energy, diagonal of $J$ twice")


FIGURE = PaperFigure(
    name="fig-3",
    title="Energy landscape",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=PUBLISHED,
)
