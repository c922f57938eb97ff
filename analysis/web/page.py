"""Interactive parallel coordinates as a self-contained page, or as a component of one."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template

from analysis.web.selection import PageInfo, page_form

SCRIPTS = ("data.js", "lines.js", "axes.js", "table.js", "parallel.js")  # one scope, in this order


def render_page(info: PageInfo) -> str:
    """Return a page of its own, which needs nothing from anywhere and may ask for nothing."""
    script, style = component_script(), component_style()
    return Template(_asset("page.html")).substitute(
        policy=content_policy([script], [style]),
        title=html.escape(f"{info.grid or 'runs'}: parallel coordinates"),
        style=style,
        script=script,
        component=render_component(info, "parallel"),
    )


def render_component(info: PageInfo, element_id: str) -> str:
    """Return the chart and its table as a `<section>`.

    Its page needs `component_style` and, at its end, `component_script`.

    Args:
        info: what is shown.
        element_id: of the section, unique in the page.
    """
    return Template(_asset("parallel.html")).substitute(
        id=html.escape(element_id),
        title=html.escape(info.grid or "runs"),
        metric=html.escape(info.metric),
        data=script_json(json.dumps(page_form(info), allow_nan=False, separators=(",", ":"))),
    )


def component_style() -> str:
    """Return the content of the page's `<style>`."""
    return _asset("parallel.css")


def component_script() -> str:
    """Return the content of one `<script>`; it brings every component of the page to life."""
    parts = "\n".join(_asset(name) for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return a Content-Security-Policy that allows these inline parts and no request."""
    allowed = {"script-src": scripts, "style-src": styles}
    parts = [
        f"{name} {' '.join(map(_hash_source, contents))}" for name, contents in allowed.items()
    ]
    return "; ".join(["default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"])


def script_json(text: str) -> str:
    """JSON that no content can end the surrounding `<script>` with."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash_source(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
