"""Grids of parts: their order, their keys, how they are joined."""

import numpy as np
import xarray as xr

from iclglass.validation.paper.simulating import VARIABLES, batches, in_turn, simulated


def test_parts_of_all_grids_are_one_sequence_and_stand_at_their_points():
    first = {"map_context": (5, 7), "kind": ("x", "y")}
    second = {"context": (1, 2), "repeat": batches(3, 2), VARIABLES: ("a", "b")}
    keys = []

    def compute(parts):
        keys.extend(parts)
        return in_turn(parts)

    data = simulated(
        compute,
        (first, lambda context, kind: xr.Dataset({"map": ("i", [context, ord(kind)])}, attrs={"kept": 1})),
        (second, lambda context, some, name: xr.Dataset({name: ("repeat", 10 * context + np.array(some))})),
        ({}, lambda: xr.Dataset({"one": 3})),
    )
    assert keys[:2] == ["map-context=5-kind=x", "map-context=5-kind=y"]
    assert keys[4:6] == ["context=1-repeat=0-1-variables=a", "context=1-repeat=0-1-variables=b"]
    assert keys[-1] == "all"
    assert len(keys) == 4 + 8 + 1
    assert data["map"].sel(map_context=7, kind="y").values.tolist() == [7, ord("y")]
    assert data.b.dims == ("context", "repeat")
    assert data.b.values.tolist() == [[10, 11, 12], [20, 21, 22]]
    assert "repeat" not in data.coords
    assert (int(data.one), data.attrs) == (3, {"kept": 1})
