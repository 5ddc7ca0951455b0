"""Grids of parts: their order, their keys, how they are joined."""

import numpy as np
import xarray as xr

from iclglass.validation.paper.simulating import VARIABLES, batches, quiet, simulated


class Keys:
    """A progress that notes what it is told."""

    def __init__(self):
        self.keys, self.counts = [], []

    def __call__(self, done, total):
        self.counts.append((done, total))

    def part(self, key, simulate):
        self.keys.append(key)
        return simulate()


def test_parts_of_all_grids_are_one_sequence_and_stand_at_their_points():
    first = {"map_context": (5, 7), "kind": ("x", "y")}
    second = {"context": (1, 2), "repeat": batches(3, 2), VARIABLES: ("a", "b")}
    progress = Keys()
    data = simulated(
        progress,
        (first, lambda context, kind: xr.Dataset({"map": ("i", [context, ord(kind)])}, attrs={"kept": 1})),
        (second, lambda context, some, name: xr.Dataset({name: ("repeat", 10 * context + np.array(some))})),
        ({}, lambda: xr.Dataset({"one": 3})),
    )
    assert progress.keys[:2] == ["map-context=5-kind=x", "map-context=5-kind=y"]
    assert progress.keys[4:6] == ["context=1-repeat=0-1-variables=a", "context=1-repeat=0-1-variables=b"]
    assert progress.keys[-1] == "all"
    assert progress.counts == [(done, 4 + 8 + 1) for done in range(14)]
    assert data["map"].sel(map_context=7, kind="y").values.tolist() == [7, ord("y")]
    assert data.b.dims == ("context", "repeat")
    assert data.b.values.tolist() == [[10, 11, 12], [20, 21, 22]]
    assert "repeat" not in data.coords
    assert (int(data.one), data.attrs) == (3, {"kept": 1})


def test_quiet_keeps_nothing():
    assert quiet().part("x", lambda: xr.Dataset({"a": 1})).a == 1
