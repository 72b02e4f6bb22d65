"""Pages: one frame and one style sheet for all, whose values are text."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from warehouse.pages import rendering
from warehouse.pages.rendering import rendered

PROJECT = Path(__file__).resolve().parents[3]


def test_values_are_text_and_the_style_sheet_is_in_the_page() -> None:
    html = rendered("warehouse.pages", "page.html.jinja", title="<script>alert(1)</script> {{ 7*7 }}")
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }}</title>" in html
    sheet = (PROJECT / "warehouse" / "pages" / "page.css").read_text("utf-8")
    assert sheet.strip() in html
    assert "default-src 'none'" in html


def test_the_style_sheet_loads_nothing_and_knows_the_dark() -> None:
    sheet = (PROJECT / "warehouse" / "pages" / "page.css").read_text("utf-8")
    assert "url(" not in sheet and "@import" not in sheet
    light, dark = sheet.split("prefers-color-scheme: dark", 1)
    colours = {
        line.strip().split(":")[0] for line in light.replace(";", "\n").splitlines() if line.strip().startswith("--")
    }
    assert len(colours) > 10
    assert all(f"{name}:" in dark for name in colours)
    assert sheet.count("{") == sheet.count("}")


def test_a_value_that_a_template_names_has_to_be_there() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered("warehouse.pages", "page.html.jinja")


@pytest.mark.parametrize("template", sorted(PROJECT.glob("[!.]*/**/*.html.jinja")), ids=lambda path: path.name)
def test_no_template_brings_looks_of_its_own(template: Path) -> None:
    text = template.read_text("utf-8")
    assert " style=" not in text
    assert ("<style" in text) == (template.parent == Path(rendering.__file__).parent)
