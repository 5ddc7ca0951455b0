"""``iclglass reproduce``: figures of the paper, one or all, each with its data, pictures and a line of verdict."""

import sys
from pathlib import Path
from typing import Any

import click

from iclglass.cli.kinds import DIR, TEXT
from iclglass.cli.options import ANYWAY, ENGINE, FORCE, JSON, SEED, UNSEEN, command, engine, option
from iclglass.cli.output import judged, made, print_json, say
from iclglass.cli.progress import bar

__all__ = ["reproduce"]


@command(
    click.Argument(["figure"], type=TEXT, metavar="FIGURE"),
    option("--scale quick|full", TEXT, "quick (seconds a figure) or full (the paper's)", default="quick"),
    option("--published", DIR, "root of your copy of the authors' repository, to overlay its data"),
    option(
        "--out",
        DIR,
        "folder for data (.nc) and pictures (.png, .pdf); the same command resumes",
        default="iclglass-figures",
    ),
    SEED,
    UNSEEN,
    *ENGINE,
    FORCE,
    ANYWAY,
    JSON,
    example="iclglass reproduce fig-S1 --out figures    (fig-1 .. fig-4, fig-S1 .. fig-S8, or all)",
)
def reproduce(**values: Any) -> int:
    """Figures of the paper (SG), each with a line of verdict.

    FIGURE is fig-1 .. fig-4, fig-S1 .. fig-S8, or all: simulated, theory over them, published data overlaid. Exit code
    4 where our simulation disagrees with our own theory, 6 where none does but one could not have seen an error. Of
    all figures, one that needs a package that is not installed is named and skipped.
    """
    from iclglass.numerics.arguments import check_choice, check_count
    from iclglass.numerics.errors import MissingExtraError
    from iclglass.numerics.running.engines import make_engine
    from iclglass.numerics.storage import replacing
    from iclglass.validation.paper.catalogue import FIGURES, get
    from iclglass.validation.paper.figure import SCALES
    from iclglass.validation.paper.notes import to_markdown
    from iclglass.validation.paper.published import check_layout
    from iclglass.validation.paper.reproduce import reproduce
    from iclglass.validation.verdict import check_largest_unseen_bias, combined

    # Everything that can be refused is refused before any work.
    scale = check_choice("scale", values["scale"], SCALES)
    check_count("seed", values["seed"], minimum=0)
    largest = check_largest_unseen_bias(values["largest_unseen_bias"])
    everything = values["figure"].lower() == "all"
    names = list(FIGURES) if everything else [get(values["figure"]).name]
    if values["published"] is not None:
        check_layout(values["published"])
    folder = Path(values["out"])
    verdicts = {}
    skipped: dict[str, str] = {}
    # One engine for all: its workers, or its cluster, are started once.
    with make_engine(**engine(values)) as running, made(folder):
        for number, name in enumerate(names, start=1):
            print(f"{name} ({number} of {len(names)}): {get(name).title}", file=sys.stderr)
            try:
                with bar(name) as advance:
                    verdict = reproduce(
                        name,
                        scale=scale,
                        published=values["published"],
                        out=folder,
                        seed=values["seed"],
                        largest_unseen_bias=largest,
                        force=values["force"],
                        resume_anyway=values["resume_anyway"],
                        executor=running,
                        progress=advance,
                        say=say,
                    )
            except MissingExtraError as error:
                if not everything:
                    raise
                skipped[name] = str(error)
                print(f"        skipped: {error}", file=sys.stderr)
                continue
            verdicts[name] = verdict
            if not values["json"]:
                mark = {True: "agrees", False: "DISAGREES", None: "?"}[verdict.agrees]
                # flushed: a long run is read while it goes on
                print(f"{name:7s} {mark:9s} {verdict.sentence}", flush=True)
            for remark in verdict.remarks:
                print(f"        {remark}", file=sys.stderr)
    # Of one figure it would replace the account of all.
    if everything:
        with replacing(folder / "reproduction.md", force=True) as temporary:
            account = to_markdown(
                verdicts, scale=scale, seed=values["seed"], published=values["published"] is not None, skipped=skipped
            )
            temporary.write_text(account, encoding="utf-8")
    if values["json"]:
        figures = {name: verdict.to_dict() for name, verdict in verdicts.items()}
        print_json({"scale": scale, "seed": values["seed"], "figures": figures, "skipped": skipped})
    account_too = " and reproduction.md" if everything else ""
    print(f"wrote data (.nc), pictures (.png, .pdf){account_too} to {folder}", file=sys.stderr)
    return judged(combined(verdict.agrees for verdict in verdicts.values()))
