"""Every kind of long work, interrupted: goes on to the same bits, and refuses what must not be mixed with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

import iclglass
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running import resuming
from iclglass.numerics.running.store import checkpoint_path
from iclglass.numerics.storage import PROVENANCE
from iclglass.validation.paper import fig_s6
from iclglass.validation.paper import reproduce as paper
from iclglass.validation.paper.figure import Verdict
from iclglass.validation.suite import suite
from iclglass.validation.suite.points import SCALES, Scale, points
from iclglass.validation.suite.sampled import SampledRow

MODULE = "iclglass.numerics.arguments"
"""One that all results but the figure's follow from."""
REFUSED = r"another version of this program: the code of {} differs; .*--resume-anyway \(resume_anyway=True\)"

SWEPT = {"task_diversity": [0.5, 2.0], "context_length": [1.0, 2.0], "dimension": 4, "samples": 2}
COMPARED = {"task_diversity": 2.0, "context_length": 1.0, "dimension": (4, 5), "samples": 4, "workers": 1}
BLOCKS = {"dimension": 6, "context": 8, "prompts": 230, "seed": 5, "block_prompts": 16}
SOLVED = {"ridge0": 0.02, "beta": 3.0}
TRAINED = {"steps": 20, "learning_rate": 0.1}
DRAWN = {"dimension": 4, "context": 6, "prompts": 40}
FIGURE = {"dimension": 3, "context": 10, "tasks": 3, "epochs": 5, "repeats": 5}
SMALLEST = Scale(dimensions=(6, 8), samples=4, replicates=10, group=2, digits=1, draws=50)


# Each: (a folder, options) -> values, and the programs of which the result says that it comes from.


def swept(folder, *, fresh=False, **options):
    iclglass.sweep_simulated(**SWEPT | options, out=folder / "a.nc", force=fresh)
    found = iclglass.load(folder / "a.nc")
    return found.e_icl.values, json.loads(found.attrs[PROVENANCE]).get("programs", [])


def compared(folder, **options):
    found = iclglass.validate(**COMPARED | options, checkpoint=folder / "a.nc.checkpoint").to_dict()
    return [row["extrapolated"] for row in found["rows"]], found["programs"]


def suited(folder, **options):
    found = suite.run_suite(folder=folder, only=points()[:1], models=(), workers=1, **options)
    return found.headline_z, found.to_dict()["provenance"].get("programs", [])


def trained(folder, *, prompts=40, seed=1, **options):
    data = iclglass.draw_prompts(**DRAWN | {"prompts": prompts}, rng=np.random.default_rng(1))
    run = iclglass.train(data, **TRAINED | options, checkpoint=folder / "a.nc", rng=np.random.default_rng(seed))
    with np.load(folder / "a.nc") as arrays:
        programs = json.loads(str(arrays["header"]))["programs"]
    return run.weights, [resuming.described(each) for each in programs] if len(programs) > 1 else []


def solved(folder, *, prompts=230, seed=5, **options):
    source = iclglass.PromptBlocks(**BLOCKS | {"prompts": prompts, "seed": seed})
    solution = iclglass.solve_distributed(source, **SOLVED | options, checkpoint=folder / "a.nc.checkpoint")
    iclglass.save_solution(solution, folder / "b.nc", force=True)
    return solution.mean, json.loads(iclglass.load(folder / "b.nc").attrs[PROVENANCE]).get("programs", [])


def reproduced(folder, *, fresh=False, **options):
    paper.reproduce("fig-S6", out=folder, force=fresh, **options)
    found = iclglass.load(folder / "fig-S6.nc")
    return found.error.values, json.loads(found.attrs[PROVENANCE]).get("programs", [])


WORKS = {swept: "a.nc", compared: "a.nc", suited: "samples", trained: "a.nc", solved: "a.nc", reproduced: "fig-S6.nc"}
"""Work -> the file whose checkpoint keeps it."""
every_work = pytest.mark.parametrize("work", WORKS)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The suite without its samplers and controls, and a figure of three parts in milliseconds."""
    monkeypatch.setitem(SCALES, "standard", SMALLEST)
    row = SampledRow("exact", "m", 1.0, 1.1, 0.1, -1.0, 4.0)
    monkeypatch.setattr(suite, "sampled_rows", lambda seed, draws: (row,))
    monkeypatch.setattr(suite, "detections", lambda seed: ())
    monkeypatch.setattr(suite, "sampler_detections", lambda seed, draws: ())
    monkeypatch.setattr(fig_s6, "BATCH", 2)
    figure = replace(
        fig_s6.FIGURE,
        parameters=lambda scale: FIGURE,
        judge=lambda data, published: Verdict("", (), ()),
        draw=lambda data, published: Figure(),
    )
    monkeypatch.setattr(paper, "get", lambda name: figure)


def interrupt(work, folder, **options):
    """Begin it, up to two of its tasks or steps; the bytes that are kept."""

    def stop(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"what was finished is kept in .*: the same command goes on"):
        work(folder, progress=stop, **options)
    return checkpoint_path(folder / WORKS[work]).read_bytes()


@pytest.fixture
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@every_work
def test_what_was_interrupted_goes_on_bit_for_bit_and_does_nothing_twice(work, tmp_path, elsewhere):
    wanted, programs = work(elsewhere)
    assert programs == []
    interrupt(work, tmp_path)
    first = []
    found, _ = work(tmp_path, progress=lambda done, _: first.append(done))
    np.testing.assert_array_equal(found, wanted)
    assert first[0] in ((3,) if work is solved else (2,))
    again, _ = work(tmp_path)
    np.testing.assert_array_equal(again, wanted)
    # An output takes the place of its checkpoint; samples serve other sizes, too, and no lock stays.
    left = {path.name for path in tmp_path.iterdir() if path.suffix not in (".nc", ".png", ".pdf")}
    assert left == (set() if work in (swept, trained, reproduced) else {f"{WORKS[work]}.checkpoint"})


@every_work
def test_a_second_run_is_refused_and_the_first_goes_on(work, tmp_path, elsewhere):
    refused = []

    def second(done, *_):
        if done == 2 and not refused:
            with pytest.raises(OutputError, match="is being written by another run"):
                work(tmp_path)
            refused.append(done)

    found, _ = work(tmp_path, progress=second)
    assert refused
    np.testing.assert_array_equal(found, work(elsewhere)[0])


OTHERS = [
    (swept, {"seed": 8}, "seed is 0 there and 8 here"),
    (swept, {"ridge": 0.4}, "ridge is"),
    (swept, {"samples": 3}, "samples is 2 there and 3 here"),
    (swept, {"context_length": [1.0, 3.0]}, "context_length is"),
    (swept, {"theory": False}, "theory is True there and False here"),
    (swept, {"road": "message-passing"}, "road is 'simulation' there and 'message-passing' here"),
    (compared, {"ridge": 0.3, "seed": 8}, r"ridge is 0\.1 there and 0\.3 here; seed is 0 there and 8 here"),
    (suited, {"seed": 1}, "seed is 0 there and 1 here"),
    (trained, {"learning_rate": 0.2}, "learning_rate is 0.1 there and 0.2 here"),
    (trained, {"ridge0": 0.1}, "ridge0 is 0.0 there and 0.1 here"),
    (trained, {"steps": 30}, "steps is 20 there and 30 here"),
    (trained, {"optimiser": "adam"}, "optimiser is 'gd' there and 'adam' here"),
    (trained, {"parametrisation": "separate"}, "parametrisation is 'merged' there"),
    (trained, {"tolerance": 1e-3}, "tolerance is None there"),
    (trained, {"seed": 8}, "initial weights is"),
    (trained, {"prompts": 41}, "data is"),
    (trained, {"test": iclglass.draw_prompts(**DRAWN, rng=np.random.default_rng(2))}, "test is None there"),
    (solved, {"ridge0": 0.1}, "ridge0 is 0.02 there and 0.1 here"),
    (solved, {"tolerance": 1e-6}, "tolerance is 1e-12 there and 1e-06 here"),
    (solved, {"tasks": 3}, "tasks is 15 there and 3 here"),
    (solved, {"seed": 6}, "data is '.*' there and '.*' here"),
    (solved, {"prompts": 200}, "prompts is 230 there and 200 here"),
    (reproduced, {"seed": 1}, "seed is 0 there and 1 here"),
]


@pytest.mark.parametrize(("work", "change", "message"), OTHERS)
def test_other_parameters_are_refused_by_name_and_begin_anew_when_asked(work, change, message, tmp_path, elsewhere):
    before = interrupt(work, tmp_path)
    with pytest.raises(ParameterError, match=message):
        work(tmp_path, **change)
    assert checkpoint_path(tmp_path / WORKS[work]).read_bytes() == before
    np.testing.assert_array_equal(work(tmp_path, fresh=True, **change)[0], work(elsewhere, **change)[0])


@pytest.mark.parametrize("work", [trained, reproduced])
def test_finished_work_of_other_parameters_is_refused_too(work, tmp_path):
    work(tmp_path)
    before = (tmp_path / WORKS[work]).read_bytes()
    with pytest.raises(ParameterError, match=r"initial weights is|seed is 0 there and 1 here"):
        work(tmp_path, seed=2 if work is trained else 1)
    assert (tmp_path / WORKS[work]).read_bytes() == before


@every_work
def test_a_folder_that_is_not_there_is_refused_before_any_work(work, tmp_path):
    with pytest.raises(OutputError, match="missing"):
        work(tmp_path / "missing", progress=lambda *_: pytest.fail("it began"))
    assert list(tmp_path.iterdir()) == []


@every_work
def test_work_of_another_version_is_refused_or_resumed_and_said_to_be(work, tmp_path, monkeypatch, elsewhere):
    wanted, _ = work(elsewhere)
    interrupt(work, tmp_path)
    module = "iclglass.validation.statistics" if work is reproduced else MODULE
    real = resuming.code_digests
    monkeypatch.setattr(resuming, "code_digests", lambda *roots: {**real(*roots), module: "0" * 16})
    with pytest.raises(OutputError, match=REFUSED.format(module)):
        work(tmp_path)
    values, programs = work(tmp_path, resume_anyway=True)
    np.testing.assert_array_equal(values, wanted)
    assert len(programs) == 2
    assert programs[0]["source"] != programs[1]["source"]
    assert all(programs[0][name] == programs[1][name] for name in ("iclglass", "numpy", "scipy"))


SIZES = ("--dimension", "4", "--context", "6", "--prompts", "40", "--ridge0", "0.1")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("validation.sweeping.sweep.sweep_simulated", ("sweep", "--simulate", "--dimension", "4", "--out", "a.nc")),
        ("validation.crosscheck.validate", ("validate",)),
        ("validation.suite.suite.run_suite", ("validate", "--suite", "standard")),
        ("validation.training.train", ("train", *SIZES, "--steps", "3", "--learning-rate", "0.1", "--out", "a.npz")),
        ("numerics.instance.distributed.solve_distributed", ("instance", *SIZES, "--beta", "1", "--blocks")),
        ("validation.paper.reproduce.reproduce", ("reproduce", "fig-S6")),
    ],
)
def test_every_command_that_resumes_has_the_option(run, monkeypatch, target, command):
    given = []

    def stand_in(*arguments, **options):
        given.append(options["resume_anyway"])
        raise ParameterError("enough")

    monkeypatch.setattr(f"iclglass.{target}", stand_in)
    law = ("--tau", "2", "--alpha", "1") if command[0] in ("sweep", "validate") and "--suite" not in command else ()
    for option in ((), ("--resume-anyway",)):
        code, _, err = run(*command, *law, *option)
        assert code == 2, err
        assert "enough" in err
    assert given == [False, True]


def test_the_option_is_refused_where_nothing_is_resumed(run):
    code, _, err = run("sweep", "--tau", "2", "--alpha", "1", "--out", "a.nc", "--resume-anyway")
    assert code == 2
    assert "--resume-anyway needs --simulate" in err
    code, _, err = run("instance", *SIZES, "--beta", "1", "--resume-anyway")
    assert code == 2
    assert "--resume-anyway needs --blocks" in err
