"""The site builds, needs nothing from elsewhere, and its first hour works: ``make docs``.

Blocks of bash and python are run from top to bottom of a page, in one empty folder. A block whose title is a file name
is written to that file; one titled "not run here: WHY" is not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from agentrl.trainers.credit.choose import describe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(
    r'(?:<script[^>]*\bsrc|<link[^>]*rel="(?:stylesheet|preload)"[^>]*href|<img[^>]*\bsrc)="?(?:https?:)?//'
)


class Block(NamedTuple):
    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1], m[2] or "", m[3], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def script(page: Path, folder: Path) -> str:
    """What a page tells its reader to do, as one bash script; files that it shows are written into ``folder``."""
    lines = ["set -euo pipefail", f'agentrl() {{ "{sys.executable}" -m agentrl "$@"; }}']
    for block in blocks(page):
        if block.title.startswith("not run here: "):
            continue
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language == "bash":
            lines += [f"echo '== {page.name}, line {block.line}'", block.text]
        elif block.language == "python":
            file = folder / f"line_{block.line}.py"
            file.write_text(block.text)
            lines += [f"echo '== {page.name}, line {block.line}'", f'"{sys.executable}" {file.name}']
    return "\n".join(lines) + "\n"


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", "COLUMNS": "100"}


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built strictly into build/site: what mkdocs warns about is an error."""
    out = ROOT / "build" / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.docs
def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    assert not [page.relative_to(site) for page in pages if ELSEWHERE.search(page.read_text())]
    assert not [
        sheet.name for sheet in site.rglob("*.css") if re.search(r"(?:url\(|@import )['\"]?https?:", sheet.read_text())
    ]


@pytest.mark.docs
def test_the_catalogue_has_every_method_with_its_formula(site: Path) -> None:
    text = (site / "catalogue" / "index.html").read_text()
    for row in describe():
        assert f'id="{row["id"]}"' in text or f'id="{row["id"]}_' in text, row["id"]


@pytest.mark.docs
def test_the_gallery_was_played(site: Path) -> None:
    text = (site / "gallery" / "index.html").read_text()
    assert "played:" not in text
    assert text.count("reward 1") >= 6


@pytest.mark.docs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_page_says_works(page: Path, tmp_path: Path) -> None:
    text = script(page, tmp_path)
    command = ["bash", "-c", text]
    done = subprocess.run(command, cwd=tmp_path, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.count(f"== {page.name}, line") == text.count("echo '== ")


@pytest.mark.docs
def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```bash\ntrue\n```\n\n```bash title="not run here: it would hang"\nsleep 1000\n```\n\n```python\n1 / 0\n```\n'
    )
    done = subprocess.run(
        ["bash", "-c", script(page, tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["== page.md, line 1", "== page.md, line 9"]


@pytest.mark.docs
def test_the_notebook_runs_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("look_inside", ROOT / "examples" / "look_inside.py")
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    _, made = module.app.run()
    assert set(made["episodes"].iteration) == {0, 1}
    assert len(made["episodes"]) == 64
    one = made["table"].groupby("trajectory")
    assert one["grpo"].nunique().max() <= 2  # the same for every turn of an episode, less its penalty if it was invalid
    assert one["gigpo"].nunique().max() > 2
