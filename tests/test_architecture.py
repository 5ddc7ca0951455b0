"""The page on architecture says what the code is."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "notes/architecture.md").read_text(encoding="utf-8")


def maker():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "notes/draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_rooms_is_that_of_the_code():
    made = maker()
    assert PAGE.partition(made.BEGIN)[2].partition(made.END)[0].strip() == made.table()


def test_arrows_go_downwards_only():
    made = maker()
    floors = list(made.FLOORS)
    assert all(floors.index(room.split("/")[0]) <= floors.index(other.split("/")[0]) for room, other in made.doors())


def test_every_place_that_the_page_names_exists():
    places = re.findall(r"`((?:replica|numerics|validation|iclglass|tests|notes)/[\w./]*)`", PAGE)
    assert len(set(places)) > 20
    assert not [place for place in places if not (ROOT / place).exists()]


def test_the_picture_is_drawn(tmp_path):
    maker().draw().savefig(tmp_path / "rooms.png")
    assert (tmp_path / "rooms.png").stat().st_size > 10_000
