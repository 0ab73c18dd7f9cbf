"""The page: one HTML file that runs no script but its own and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from agentrl.viewer.group import group, index
from agentrl.viewer.overview import overview
from agentrl.viewer.tokens import Pieces

GROUPS = 48  # that an exported page holds, spread over the run


def page(data: Any = None) -> str:
    """The page with ``data`` in it; without, one that asks its server."""
    text = (resources.files("agentrl") / "viewer" / "page.html").read_text(encoding="utf-8")
    style, script = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script"))
    assert style is not None
    assert script is not None
    policy = (
        f"default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style[1])}'; script-src '{_hash(script[1])}'"
    )
    # in a script element only "<" could end it, and JSON may write it as an escape anywhere
    inside = json.dumps(data, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028") if data else "null"
    return text.replace("{{policy}}", policy, 1).replace("{{data}}", inside, 1)


def export(runs: list[Path], out: Path, groups: int = GROUPS) -> int:
    """Write one self-contained file; how many groups it holds. The rest of a long run is listed without its turns."""
    held: dict[str, dict[str, Any]] = {}
    seen = []
    for number, run in enumerate(runs):
        names, pieces = index(run), Pieces.of(run)
        n = min(groups, len(names))
        chosen = {round(i * (len(names) - 1) / max(1, n - 1)) for i in range(n)}
        held[str(number)] = {names[i]: group(run, names[i], pieces) for i in sorted(chosen)}
        seen.append(overview(run))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page({"runs": seen, "groups": held}), encoding="utf-8")
    return sum(map(len, held.values()))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
