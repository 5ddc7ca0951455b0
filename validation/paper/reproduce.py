"""reproduce(...): one figure of the paper into a folder: data file, pictures, verdict.

NAME.nc holds the simulated data with its parameters. It is read, not simulated again, when it is there with the same
parameters; the parts NAME.part-KEY.nc of a long simulation that was interrupted are read in the same way, if the same
version of the program made them, and removed when the whole is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from iclglass.numerics.arguments import check_count
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.resuming import Program, differences, going_on, program, versions
from iclglass.numerics.storage import PROVENANCE, check_writable, load, provenance, save
from iclglass.validation.paper.catalogue import get
from iclglass.validation.paper.figure import PaperFigure, Verdict
from iclglass.validation.paper.published import Published, read_published
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, check_largest_unseen_bias

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["reproduce"]


def reproduce(
    name: str,
    *,
    scale: str = "quick",
    published: str | Path | None = None,
    out: str | Path,
    seed: int = 0,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    force: bool = False,
    resume_anyway: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Simulate, or read what was simulated, draw and judge one figure.

    Args:
        name: "fig-1" .. "fig-S8".
        scale: "quick" (reduced, seconds) or "full" (the paper's parameters and repeats).
        published: root of a copy of the authors' repository, whose data are overlaid; files that are missing, damaged
            or of an unexpected shape are named in the verdict's remarks.
        out: an existing folder; NAME.nc, NAME.png and NAME.pdf are written there.
        seed: of all random numbers, >= 0.
        largest_unseen_bias: theory and simulation agree only if a relative bias of this size would have been seen.
        force: simulate anew and replace what is there.
        resume_anyway: use parts that another version of the program has left; the data's provenance names both.
        progress: called with (done, total).

    Raises:
        ParameterError, ParameterTypeError: unknown figure or scale; data of other parameters in the folder.
        OutputError: a file that cannot be read or written; ``published`` without the authors' layout.
    """
    figure = get(name)
    given = figure.checked_parameters(scale)
    parameters = _plain({"figure": figure.name, "scale": scale, **given})
    seed = check_count("seed", seed, minimum=0)
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    # Before any work: what is given must be readable, what is made writable.
    arrays = read_published(published, figure.published) if published is not None else Published()
    folder = Path(out)
    store = _Store(folder, figure, parameters, seed, force, resume_anyway, progress)
    pictures = [folder / f"{figure.name}.{kind}" for kind in ("png", "pdf")]
    for picture in pictures:
        # Pictures follow from the data beside them; without data they are someone else's.
        check_writable(picture, force=force or store.file.exists())

    # The matrices are small: more threads only wait for each other.
    with threadpool_limits(limits=1):
        data = store.whole(lambda: figure.simulate(given, seed, store))
    verdict = figure.judge(data, arrays)
    drawn = figure.draw(data, arrays)
    from iclglass.numerics.plotting import save_figure

    for picture in pictures:
        save_figure(drawn, picture, force=True)
    return replace(
        verdict,
        remarks=(*verdict.remarks, *store.remarks, *arrays.remarks.values()),
        largest_unseen_bias=largest_unseen_bias,
    )


_TRAINERS = ("torch", "scikit-learn")
"""Packages that some figures follow from beside those of every result."""


class _Store:
    """The data file and its parts; also the progress a simulation reports to."""

    def __init__(
        self,
        folder: Path,
        figure: PaperFigure,
        parameters: dict[str, Any],
        seed: int,
        force: bool,
        resume_anyway: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        name = self._name = figure.name
        self.file = folder / f"{name}.nc"
        self._parameters, self._seed, self._progress, self._anyway = parameters, seed, progress, resume_anyway
        self._modules = [figure.simulate.__module__]
        self._here: Program = {**program(*self._modules), **versions(*_TRAINERS)}
        self._programs: list[Program] = []
        self.remarks: tuple[str, ...] = ()
        check_writable(self.file, force=True)
        if force:
            for file in (self.file, *self._parts()):
                file.unlink(missing_ok=True)

    def __call__(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def whole(self, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        """The data, simulated where they are not there; then the parts go."""
        data = self._kept(self.file, simulate)
        for part in self._parts():
            part.unlink(missing_ok=True)
        return data

    def part(self, key: str, simulate: Callable[[], xr.Dataset]) -> xr.Dataset:
        """A part of the data."""
        if not all(letter.isalnum() or letter in "-=." for letter in key):
            raise ParameterError(f"key {key!r} of a part must be of letters, digits, -, = and .")
        return self._kept(self.file.with_name(f"{self._name}.part-{key}.nc"), simulate, unfinished=True)

    def _parts(self) -> list[Path]:
        return sorted(self.file.parent.glob(f"{self._name}.part-*.nc"))

    def _kept(self, file: Path, simulate: Callable[[], xr.Dataset], *, unfinished: bool = False) -> xr.Dataset:
        if file.exists():
            data = load(file)
            self._check(file, data, unfinished=unfinished)
            return data
        data = simulate()
        programs = [*self._programs, self._here]
        data.attrs[PROVENANCE] = provenance(
            self._parameters, seed=self._seed, modules=self._modules, programs=[] if unfinished else programs
        )
        save(data, file)
        return data

    def _check(self, file: Path, data: xr.Dataset, *, unfinished: bool) -> None:
        here = {**self._parameters, "seed": self._seed}
        try:
            record = json.loads(data.attrs[PROVENANCE])
            found = {**record["parameters"], "seed": record["seed"]}
            made_by = {"modules": record.get("modules")}
            made_by |= {name: record["versions"][name] for name in self._here if name in record["versions"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{file} does not say what it was made from: remove it, or --force") from error
        if others := differences(found, here):
            raise ParameterError(
                f"{file} belongs to other parameters: {others}; choose another --out, or --force to replace it"
            )
        if not (others := differences(made_by, self._here)):
            return
        # Whole data of another version are drawn and judged, and said to be; parts must not be mixed.
        self.remarks += (f"{file.name} was made by another version of this program: {others}",)
        if unfinished:
            going_on(str(file), [made_by], self._here, anyway=self._anyway, anew="--force (force=True)")
            self._programs += [made_by] if made_by not in self._programs else []


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON gives them back: tuples and arrays as lists."""
    plain: dict[str, Any] = json.loads(provenance(parameters, modules=[__name__]))["parameters"]
    return plain
