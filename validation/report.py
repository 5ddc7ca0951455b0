"""One self-contained HTML page: pictures inline, opens offline, readable on a phone."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from iclglass.numerics.storage import replacing
from iclglass.validation.verdict import word

__all__ = ["equation", "paragraph", "picture", "preformatted", "table", "verdict", "write_page"]

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


def paragraph(text: str, *, note: bool = False) -> str:
    """Escaped text as a paragraph.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f'<p class="note">{html.escape(text)}</p>' if note else f"<p>{html.escape(text)}</p>"


def verdict(text: str, *, passed: bool | None) -> str:
    """A box that says pass, fail or inconclusive in words and colour."""
    said = word(passed)
    return f'<p class="verdict {said.lower()}"><strong>{said}.</strong> {html.escape(text)}</p>'


def preformatted(text: str) -> str:
    """Text kept as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, prose: bool = False) -> str:
    """A table that scrolls sideways where the screen is narrow; with ``prose`` its cells are text, which wraps."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    kind = ' class="prose"' if prose else ""
    return _wide(f"<table{kind}>\n<thead>{line(header, 'th')}</thead>\n<tbody>{body}</tbody></table>")


def picture(path: Path, caption: str, *, panels: bool = False) -> str:
    """A PNG file, inline, with its caption (which is its alternative text, too).

    With ``panels`` it keeps a readable size on a narrow screen and scrolls sideways. OSError: no such file.
    """
    image = _image("png", path.read_bytes(), caption, ' class="panels"' if panels else "")
    return f"<figure>{_wide(image) if panels else image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def equation(latex: str, text: str) -> str:
    """A formula drawn as inline SVG, with the same as text for those who cannot see it.

    ValueError: LaTeX beyond what matplotlib's mathtext draws.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    buffer = io.BytesIO()
    math_to_image(f"${latex}$", buffer, prop=FontProperties(size=16), format="svg")
    return _wide(_image("svg+xml", buffer.getvalue(), text))


def _image(kind: str, data: bytes, text: str, more: str = "") -> str:
    coded = base64.b64encode(data).decode("ascii")
    return f'<img{more} alt="{html.escape(text)}" src="data:image/{kind};base64,{coded}">'


def _wide(part: str) -> str:
    """Scrolls sideways where the screen is narrow."""
    return f'<div class="wide">{part}</div>'


def write_page(path: Path, *, title: str, sections: Sequence[tuple[str, Sequence[str]]], force: bool = False) -> None:
    """Write the page: a title, then for each section its heading and its parts, made by the functions of this module.

    The file is written atomically. OutputError: it exists and not ``force``, or it cannot be written.
    """
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>"
    )
    body = [part for heading, parts in sections for part in (f"<h2>{html.escape(heading)}</h2>", *parts)]
    page = "\n".join([head, *body, "</body></html>\n"])
    with replacing(path, force=force) as temporary:
        temporary.write_text(page, encoding="utf-8")
