"""Hooks of the site: pages for files outside `docs/`, links that also work on a git host.

The Markdown files link to the README, to source files and to grids by relative paths, which a git
host resolves. The site holds a copy of each linked file as a page of its own, so it needs neither a
repository address nor a network.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
PROJECT_PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "changelog.d/README.md",
)
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
FAULTY_YAML = re.compile(
    r"^```yaml faulty$", re.MULTILINE
)  # a marker of the tests that the site does not know
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".toml": "toml"}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages outside `docs/` and a page for every source file that some page links to."""
    for name in PROJECT_PAGES:
        files.append(File.generated(config, f"project/{name}", content=(ROOT / name).read_text()))
    pages = [file for file in list(files) if file.src_uri.endswith(".md")]
    for page in pages:
        for match in LINK.finditer(page.content_string):
            target = _repository_path(page.src_uri, match[2])
            uri = _source_page(target) if target else None
            if target and uri and uri not in files.src_uris:
                files.append(File.generated(config, uri, content=_render_source(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites links to files outside `docs/` into links to their pages."""
    here = page.file.src_uri

    def rewrite(match: re.Match[str]) -> str:
        target = _repository_path(here, match[2])
        if target is None:
            return match[0]
        uri = _page_uri(target)
        if uri is None:
            return match[0]
        relative = posixpath.relpath(uri, posixpath.dirname(here) or ".")
        return f"{match[1]}{relative}{match[3] or ''}{match[4]}"

    return LINK.sub(rewrite, FAULTY_YAML.sub("```yaml", markdown))


def _repository_path(page_uri: str, link: str) -> str | None:
    """The path in the repository that a link names, None for an address."""
    if re.match(r"[a-z]+:", link) or link.startswith("/"):
        return None
    folder = (
        ""
        if page_uri.startswith("project/")
        else posixpath.join("docs", posixpath.dirname(page_uri))
    )
    return posixpath.normpath(posixpath.join(folder, link))


def _page_uri(target: str) -> str | None:
    """Where the site keeps a file of the repository, None where it has no page."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if target in PROJECT_PAGES:
        return f"project/{target}"
    return _source_page(target)


def _source_page(target: str) -> str | None:
    """The page that shows a source file, None for what is a page already or does not exist."""
    is_page = target.startswith("docs/") or target in PROJECT_PAGES
    return None if is_page or not (ROOT / target).is_file() else f"source/{target}.md"


def _render_source(target: str) -> str:
    path = ROOT / target
    language = LANGUAGES.get(path.suffix, "text")
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {target}\n\n"
    return f"{head}````{language}\n{path.read_text()}\n````\n"
