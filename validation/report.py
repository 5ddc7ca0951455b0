"""One self-contained HTML page: pictures inline, opens offline, readable on a phone."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iclglass.numerics.storage import replacing
from iclglass.validation.verdict import word

__all__ = ["Banner", "Equation", "Paragraph", "Part", "Picture", "Preformatted", "Table", "write_page"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 56rem; margin: 0 auto;
       padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ccc;
     padding-top: 1rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; } .wide img { max-width: none; } .wide img.panels { width: 100%; min-width: 42rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.prose th, table.prose td { text-align: left; white-space: normal; vertical-align: top; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; background: #f5f5f5; }
.pass { border-color: #009E73; } .fail { border-color: #D55E00; } .inconclusive { border-color: #E69F00; }
pre { overflow-x: auto; background: #f5f5f5; padding: .8rem; font-size: .85rem; }
"""


class Part(Protocol):
    """What a section of a page is made of."""

    def html(self) -> str:
        """As markup; texts are escaped."""


@dataclass(frozen=True)
class Paragraph:
    """Text; a note is small and grey.

    >>> Paragraph("a < b").html()
    '<p>a &lt; b</p>'
    """

    text: str
    note: bool = False

    def html(self) -> str:
        """As markup."""
        return f'<p class="note">{html.escape(self.text)}</p>' if self.note else f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Banner:
    """A box that says pass, fail or inconclusive in words and colour."""

    text: str
    passed: bool | None

    def html(self) -> str:
        """As markup."""
        said = word(self.passed)
        return f'<p class="verdict {said.lower()}"><strong>{said}.</strong> {html.escape(self.text)}</p>'


@dataclass(frozen=True)
class Preformatted:
    """Text kept as it is."""

    text: str

    def html(self) -> str:
        """As markup."""
        return f"<pre>{html.escape(self.text)}</pre>"


@dataclass(frozen=True)
class Table:
    """A table that scrolls sideways where the screen is narrow; with ``prose`` its cells are text, which wraps."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False

    def html(self) -> str:
        """As markup."""

        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "\n".join(line(row, "td") for row in self.rows)
        kind = ' class="prose"' if self.prose else ""
        return _wide(f"<table{kind}>\n<thead>{line(self.header, 'th')}</thead>\n<tbody>{body}</tbody></table>")


@dataclass(frozen=True)
class Picture:
    """A PNG file, inline, with its caption (which is its alternative text, too).

    With ``panels`` it keeps a readable size on a narrow screen and scrolls sideways.
    """

    path: Path
    caption: str
    panels: bool = False

    def html(self) -> str:
        """As markup. OSError: no such file."""
        image = _image("png", self.path.read_bytes(), self.caption, ' class="panels"' if self.panels else "")
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>"
        return f"<figure>{_wide(image) if self.panels else image}{caption}</figure>"


@dataclass(frozen=True)
class Equation:
    """A formula drawn as inline SVG, with the same as text for those who cannot see it."""

    latex: str
    text: str

    def html(self) -> str:
        """As markup. ValueError: LaTeX beyond what matplotlib's mathtext draws."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.mathtext import math_to_image

        buffer = io.BytesIO()
        math_to_image(f"${self.latex}$", buffer, prop=FontProperties(size=16), format="svg")
        return _wide(_image("svg+xml", buffer.getvalue(), self.text))


def _image(kind: str, data: bytes, text: str, more: str = "") -> str:
    coded = base64.b64encode(data).decode("ascii")
    return f'<img{more} alt="{html.escape(text)}" src="data:image/{kind};base64,{coded}">'


def _wide(part: str) -> str:
    """Scrolls sideways where the screen is narrow."""
    return f'<div class="wide">{part}</div>'


def write_page(path: Path, *, title: str, sections: Sequence[tuple[str, Sequence[Part]]], force: bool = False) -> None:
    """Write the page: a title, then for each section its heading and its parts.

    The file is written atomically. OutputError: it exists and not ``force``, or it cannot be written.
    """
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>"
    )
    body = [
        text
        for heading, parts in sections
        for text in (f"<h2>{html.escape(heading)}</h2>", *(part.html() for part in parts))
    ]
    page = "\n".join([head, *body, "</body></html>\n"])
    with replacing(path, force=force) as temporary:
        temporary.write_text(page, encoding="utf-8")
