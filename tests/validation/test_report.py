"""The report is one well-formed page that needs nothing but itself, and says what it was given."""

import base64
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from iclglass.numerics.errors import OutputError
from iclglass.validation.report import Banner, Equation, Paragraph, Picture, Preformatted, Table, write_page

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "a < b & \"c\" > 'd' <script>alert(1)</script> λ"


class Page(HTMLParser):
    """Checks that tags nest; collects texts, attributes and images."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.images = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "figure.png"
    Figure(figsize=(1, 1)).savefig(path)
    return path


@pytest.mark.parametrize(
    "part",
    [
        Paragraph(NASTY),
        Paragraph(NASTY, note=True),
        Banner(NASTY, passed=True),
        Banner(NASTY, passed=False),
        Preformatted(NASTY),
        Table([NASTY], [[NASTY]]),
    ],
)
def test_text_is_shown_as_it_is_and_is_never_markup(part):
    page = Page(part.html())
    assert NASTY in page.text
    assert "script" not in [tag for tag, _ in page.tags]


def test_a_verdict_says_pass_or_fail_in_words():
    assert Page(Banner("all agree", passed=True).html()).text == "PASS. all agree"
    assert Page(Banner("m is off", passed=False).html()).text == "FAIL. m is off"
    assert 'class="verdict fail"' in Banner("m is off", passed=False).html()


def test_a_table_has_every_cell_once_in_order():
    page = Page(Table(["a", "b"], [["1", "2"], ["3", "4"]]).html())
    assert [tag for tag, _ in page.tags if tag in ("th", "td", "tr")] == ["tr", "th", "th"] + 2 * ["tr", "td", "td"]
    assert [text for text in page.texts if text.strip()] == ["a", "b", "1", "2", "3", "4"]
    assert page.tags[0] == ("div", {"class": "wide"})
    assert Page(Table(["only a header"], []).html()).text.strip() == "only a header"


def inline(part, kind):
    """The one image of a part: its bytes and its alternative text."""
    (image,) = Page(part.html()).images
    start = f"data:image/{kind};base64,"
    assert image["src"].startswith(start)
    return base64.b64decode(image["src"].removeprefix(start), validate=True), image["alt"]


def test_a_picture_is_inline_bit_for_bit_with_its_caption(png):
    assert inline(Picture(png, NASTY), "png") == (png.read_bytes(), NASTY)
    assert Page(Picture(png, NASTY).html()).text == NASTY


def test_an_equation_is_inline_svg_and_text():
    text = '1/chi = lam + a < "b"'
    svg, alternative = inline(Equation(r"\frac{1}{\chi} = \lambda + a", text), "svg+xml")
    assert alternative == text
    assert b"<svg" in svg
    assert svg.rstrip().endswith(b"</svg>")


def test_what_cannot_be_drawn_or_read_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"\S"):
        Equation(r"\begin{pmatrix} 1 \end{pmatrix", "broken").html()
    with pytest.raises(OSError, match=r"none\.png"):
        Picture(tmp_path / "none.png", "caption").html()


def test_a_page_is_whole_well_formed_and_needs_no_network(tmp_path, png):
    path = tmp_path / "report.html"
    first = [Paragraph("text"), Equation("a = b", "a = b")]
    write_page(path, title=NASTY, sections=[("First " + NASTY, first), ("Second", [Picture(png, "p")])])
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("title") == names.count("body") == 1
    assert names.count("h2") == 2
    assert {"script", "link", "iframe", "object"}.isdisjoint(names)
    assert ("meta", {"charset": "utf-8"}) in page.tags
    assert any(attributes.get("name") == "viewport" for tag, attributes in page.tags if tag == "meta")
    assert next(attributes for tag, attributes in page.tags if tag == "html")["lang"] == "en"
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    style = re.search("<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    # Pictures never wider than a phone's screen; what is wide scrolls inside itself.
    assert "max-width: 100%" in style
    assert "overflow-x: auto" in style


def test_an_existing_page_is_refused_without_force(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(OutputError, match="exists"):
        write_page(path, title="t", sections=[])
    assert path.read_text() == "old"
    write_page(path, title="t", sections=[], force=True)
    assert "<h1>t</h1>" in path.read_text()
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
