"""``iclglass demo``: derive, solve across task diversity, phase diagram, cross-check; pictures and one report."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass import __version__
from iclglass.cli.kinds import DIR
from iclglass.cli.options import FORCE, command, option
from iclglass.cli.outcome import agreement_rows, validation_outputs, write_validation
from iclglass.cli.output import judged, made, refuse_existing, say
from iclglass.cli.progress import bar

if TYPE_CHECKING:
    import xarray as xr

    from iclglass.numerics.phase_diagram import PhaseDiagram
    from iclglass.replica.derivation import Derivation
    from iclglass.validation.agreement import Agreement

__all__ = ["demo"]

_RIDGES = (0.001, 0.01, 0.1, 1.0)
_POINT = {"task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1}
_VALIDATION: dict[str, Any] = _POINT | {"dimension": (16, 24, 32, 48), "samples": 48, "seed": 0}
_DERIVED = (
    "A linear-attention layer trained on linear-regression prompts is a glass of real-valued spins: the weights are "
    "the spins, the prompts the quenched disorder (Li, Bai and Huang, arXiv:2408.02288). The replica-symmetric "
    "free-entropy functional, the variance of a feature, and the saddle-point equations, as SymPy derived them in this "
    "run; the cavity method gave the same equations."
)
_SOLVED = (
    "Error on a new task and contrast ratio against task diversity, for four ridges. Near tau = 1 the number of "
    "prompts equals the number of weights: without ridge the error diverges there."
)
_MAPPED = "Error on a new task over task diversity and context length, with located lines."
_GLASS: dict[str, Any] = {"context_length": 5.0, "spins": "binary", "ridge": 0.1, "lines": ("at",)}
_FROZEN = (
    "The same layer with weights off the diagonal of two values only, +-1/sqrt(D): error of the mean "
    "weights on a new task over task diversity and temperature. The de Almeida-Thouless line is highest at "
    "T = {temperature:.2f}, tau = {tau:.1f}. Below it, at the {count} of {total} points that are hatched, replica "
    "symmetry is unstable: the weights freeze into a glass, and the numbers there are an approximation."
)
_CHECKED = "Simulated means against 1/D, their extrapolation, and the theory at 1/D = 0."
_TABLE = (
    "Every data set has P = tau D^2 prompts and is solved exactly; error bars are over independent data sets. z: "
    "extrapolated gap in standard errors. limit: |z| from which the quantity disagrees, plus what truncation of the "
    "polynomial is allowed. smallest bias seen: an error of the theory of this size would have failed with 90 % "
    "probability."
)


@command(option("--out", DIR, "folder to write", default="iclglass-demo"), FORCE, example="iclglass demo --out results")
def demo(out: str, force: bool) -> int:
    """Derive, solve, map and cross-check: pictures and a report.

    The whole chain on defaults, in under a minute; the exit code is that of the cross-check.
    """
    folder = Path(out)
    drawn = [f"{name}.{kind}" for name in ("sweep", "phase-diagram", "glass") for kind in ("nc", "png")]
    names = ("derivation.tex", *drawn, "report.html")
    files = {name: folder / name for name in names}
    outputs = validation_outputs(folder)
    # An interrupted demo has its samples and what is written before them, not the report, which comes last.
    begun = outputs["samples"].exists() and files["derivation.tex"].exists() and not files["report.html"].exists()
    if begun and not force:
        _refuse_other_samples(outputs["samples"])
    elif not force:
        refuse_existing([*files.values(), *outputs.values()])
    with made(folder):
        return _run(folder, files, outputs, force=force or begun, fresh=force)


def _refuse_other_samples(file: Path) -> None:
    """Files beside the samples of another validation are not the demo's to replace."""
    from iclglass.numerics.running.resuming import program
    from iclglass.numerics.running.store import open_store
    from iclglass.validation.experiment import MODULES
    from iclglass.validation.simulation import Simulation

    others = {name: _VALIDATION[name] for name in ("samples", "seed")}
    simulation = Simulation.of(None, _POINT, dimensions=_VALIDATION["dimension"], **others)
    with open_store(file, "simulation", simulation.drawn_from(), program(*MODULES)):
        pass


def _run(folder: Path, files: dict[str, Path], outputs: dict[str, Path], *, force: bool, fresh: bool) -> int:
    started = time.perf_counter()
    say("deriving the saddle-point equations (SymPy)")
    from iclglass.numerics.storage import replacing, save
    from iclglass.replica.derivation import derive
    from iclglass.replica.render import to_latex

    derivation = derive()
    with replacing(files["derivation.tex"], force=force) as temporary:
        temporary.write_text(to_latex(derivation.stages), encoding="utf-8")

    say("solving across task diversity")
    import numpy as np

    from iclglass.numerics.phase_diagram import phase_diagram
    from iclglass.numerics.plotting import draw_family, draw_phase_diagram, save_figure
    from iclglass.numerics.sweep import sweep

    curves = sweep(task_diversity=np.linspace(0.05, 4, 400), context_length=2.0, ridge=list(_RIDGES))
    save(curves, files["sweep.nc"], force=force)
    save_figure(draw_family(curves, observables=("e_icl", "contrast")), files["sweep.png"], force=force)

    say("mapping the phase diagram")
    diagram = phase_diagram(
        task_diversity=np.linspace(0.05, 4, 200),
        context_length=np.geomspace(0.2, 20, 150),
        ridge=0.01,
        lines=("interpolation-threshold", "contrast=0.8", "minimum=tau", "peak=tau"),
    )
    save(diagram.to_dataset(), files["phase-diagram.nc"], force=force)
    save_figure(draw_phase_diagram(diagram), files["phase-diagram.png"], force=force)

    say("mapping a glass of binary weights")
    glass = phase_diagram(task_diversity=np.geomspace(0.2, 10, 20), temperature=np.linspace(0.05, 0.5, 12), **_GLASS)
    save(glass.to_dataset(), files["glass.nc"], force=force)
    save_figure(draw_phase_diagram(glass), files["glass.png"], force=force)

    say("checking against finite-size Monte Carlo")
    from iclglass.numerics.running.blas import cores
    from iclglass.validation.crosscheck import validate
    from iclglass.validation.verdict import word

    with bar("simulating") as advance:
        given = {**_VALIDATION, "workers": cores()}
        agreement = validate(**given, progress=advance, checkpoint=outputs["samples"], fresh=fresh)
    write_validation(agreement, outputs)

    _report(files, outputs, derivation, curves, _frozen(glass), agreement, force=force)
    say(f"wrote {folder}: report.html, " + ", ".join(name for name in files if name != "report.html"))
    print(f"{word(agreement.passed)}: {agreement.sentence}")
    print(f"open {files['report.html']}   ({time.perf_counter() - started:.0f} s)")
    return judged(agreement.passed)


def _frozen(glass: "PhaseDiagram") -> str:
    """Where the glass is unstable, with its numbers."""
    from iclglass.numerics.status import Status

    tau, temperature = max((vertex for part in glass.lines[0].parts for vertex in part), key=lambda vertex: vertex[1])
    unstable = glass.dataset.status == Status.RS_UNSTABLE
    return _FROZEN.format(temperature=temperature, tau=tau, count=int(unstable.sum()), total=unstable.size)


def _report(
    files: dict[str, Path],
    outputs: dict[str, Path],
    derivation: "Derivation",
    curves: "xr.Dataset",
    frozen: str,
    agreement: "Agreement",
    *,
    force: bool,
) -> None:
    from iclglass.numerics.storage import PROVENANCE
    from iclglass.replica.render import equation_latex
    from iclglass.validation.report import Banner, Equation, Paragraph, Part, Picture, Preformatted, Table, write_page

    functional = derivation.stage("free-energy").equations[-1]
    formulas = [functional, derivation.system.a_definition, *derivation.saddle_point]
    header, rows = agreement_rows(agreement)
    origin = json.loads(str(curves.attrs[PROVENANCE]))
    versions = "\n".join(f"{name} {version}" for name, version in sorted(origin["versions"].items()))
    sections: dict[str, list[Part]] = {
        "Derived": [
            Paragraph(_DERIVED),
            *(Equation(equation_latex(formula), str(formula)) for formula in formulas),
            Paragraph("The whole chain: derivation.tex, or the command iclglass derive.", note=True),
        ],
        "Solved across task diversity": [Picture(files["sweep.png"], _SOLVED, panels=True)],
        "Phase diagram": [Picture(files["phase-diagram.png"], _MAPPED)],
        "Another glass: binary weights": [Picture(files["glass.png"], frozen)],
        "Checked against finite-size Monte Carlo": [
            Banner(agreement.sentence, passed=agreement.passed),
            Table(header, rows),
            Picture(outputs["picture"], _CHECKED, panels=True),
            Paragraph(_TABLE, note=True),
        ],
        "Made with": [
            Preformatted(f"{versions}\niclglass {__version__}, seed {agreement.seed}, {origin['time']}"),
        ],
    }
    title = "When does in-context learning emerge? Theory, phase diagram, check"
    write_page(files["report.html"], title=title, sections=list(sections.items()), force=force)
