"""Unfinished work of another version: refused with the modules that differ, taken when asked, and then said so."""

import json

import numpy as np
import pytest

import iclglass
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running import resuming
from iclglass.numerics.storage import PROVENANCE
from iclglass.validation.suite import suite
from iclglass.validation.suite.points import SCALES, Scale, points

MODULE = "iclglass.numerics.arguments"
"""One that all results follow from."""
REFUSED = rf"another version of this program: the code of {MODULE} differs; .*--resume-anyway \(resume_anyway=True\)"

SWEPT = {"task_diversity": [0.5, 0.6, 2.0, 2.5, 3.0, 4.0], "context_length": 1.0, "dimension": 4, "samples": 2}
COMPARED = {"task_diversity": 2.0, "context_length": 1.0, "dimension": (4, 5), "samples": 4, "workers": 1}
BLOCKS = {"source": iclglass.PromptBlocks(dimension=6, context=8, prompts=230, seed=5, block_prompts=16)}
SOLVED = BLOCKS | {"ridge0": 0.02, "beta": 3.0}
TRAINED = {"steps": 20, "learning_rate": 0.1}


def stop(done, *_):
    if done == 2:
        raise KeyboardInterrupt


def swept(folder, **options):
    file = folder / "a.nc"
    iclglass.sweep_simulated(**SWEPT, out=file, **options)
    found = iclglass.load(file)
    return found.e_icl.values, json.loads(found.attrs[PROVENANCE]).get("programs", [])


def compared(folder, **options):
    found = iclglass.validate(**COMPARED, checkpoint=folder / "samples", **options).to_dict()
    return [row["extrapolated"] for row in found["rows"]], found["programs"]


def trained(folder, **options):
    file, data = folder / "run.npz", iclglass.draw_prompts(dimension=4, context=6, prompts=40, rng=generator())
    run = iclglass.train(data, **TRAINED, checkpoint=file, rng=generator(), **options)
    with np.load(file) as arrays:
        programs = json.loads(str(arrays["header"]))["programs"]
    return run.weights, [resuming.described(each) for each in programs] if len(programs) > 1 else []


def solved(folder, **options):
    solution = iclglass.solve_distributed(**SOLVED, checkpoint=folder / "c", **options)
    iclglass.save_solution(solution, folder / "a.nc")
    return solution.mean, json.loads(iclglass.load(folder / "a.nc").attrs[PROVENANCE]).get("programs", [])


def generator():
    return np.random.default_rng(1)


@pytest.fixture
def other_version(monkeypatch):
    """A context in which one module of the program is another."""
    real = resuming.code_digests

    def change():
        monkeypatch.setattr(resuming, "code_digests", lambda *roots: {**real(*roots), MODULE: "0" * 16})

    return change


@pytest.mark.parametrize("work", [swept, compared, trained, solved])
def test_work_of_another_version_is_refused_or_resumed_and_said_to_be(work, tmp_path, other_version):
    whole = tmp_path / "whole"
    whole.mkdir()
    wanted, programs = work(whole)
    assert programs == []
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, progress=stop)
    other_version()
    with pytest.raises(OutputError, match=REFUSED):
        work(tmp_path)
    values, programs = work(tmp_path, resume_anyway=True)
    np.testing.assert_array_equal(values, wanted)
    assert len(programs) == 2
    assert programs[0]["source"] != programs[1]["source"]
    assert all(programs[0][name] == programs[1][name] for name in ("iclglass", "numpy", "scipy"))


def test_a_suite_takes_the_samples_of_another_version_and_says_so(tmp_path, other_version, monkeypatch):
    monkeypatch.setitem(
        SCALES, "standard", Scale(dimensions=(6, 8), samples=4, replicates=10, group=2, digits=1, draws=50)
    )
    monkeypatch.setattr(suite, "detections", lambda seed: ())
    monkeypatch.setattr(suite, "sampler_detections", lambda seed, draws: ())
    options = {"folder": tmp_path, "only": points()[:1], "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        suite.run_suite(**options, progress=stop)
    other_version()
    with pytest.raises(OutputError, match=REFUSED):
        suite.run_suite(**options)
    found = suite.run_suite(**options, resume_anyway=True)
    assert len(found.to_dict()["provenance"]["programs"]) == 2


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
