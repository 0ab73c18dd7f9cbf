"""The page catalogue.md, made from the registries whenever the site is built, so that it cannot go stale.

Formulas, sources and needs are the methods' own docstrings; when to take one and what was measured: methods.yaml.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from agentrl.trainers.credit.choose import describe as credit
from agentrl.trainers.losses.listing import describe as losses
from agentrl.trainers.sampling import registry as sampling

NOTES = Path(__file__).with_name("methods.yaml")
HEAD = """# Catalogue of methods

Made from `agentrl credit list` and `agentrl losses list` when this site was built: formulas and sources are those of
the code. *Measured* is what stands in the results; most methods have only been compared with numbers of their published
code, and no figure means that nobody has measured it here. Options and their defaults: `agentrl credit list --json`.

Names in formulas: R outcome of an episode, r reward of a turn, A advantage, G a group (episodes of one task), S turns
that share an anchor; [N] a number a turn, [T] a number a sampled token, [n] a number a trained token.
"""
CREDIT = {
    "estimator": "Estimators: what each turn is worth",
    "transform": "Reward transforms: what an episode was worth",
    "modulator": "Modulators: change the sum of estimators",
}
LOSSES = {"policy": "Policy losses", "correction": "Corrections", "term": "Loss terms", "critic": "The critic's loss"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "catalogue.md", content=page()))
    return files


def page() -> str:
    notes: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(NOTES.read_text())
    parts = [HEAD]
    for rows, kinds in ((credit(), CREDIT), (losses(), LOSSES)):
        for kind, title in kinds.items():
            of_kind = [row for row in rows if row["kind"] == kind]
            parts += [f"## {title}\n", *_methods(of_kind, notes.pop(kind, {}))]
    parts.append("## What is played\n\nKeys of `rollout` in a recipe; [What is played](sampling.md) has examples.\n")
    for kind, places in sampling.BUILTIN.items():
        of_kind = [_sampler(id, place) for id, place in places.items()]
        parts += [f"### `rollout.{kind}`\n", *_methods(of_kind, notes.pop(kind, {}))]
    if notes:
        raise PluginError(f"{NOTES}: no such kind of method: {', '.join(notes)}")
    return "\n".join(parts)


def _sampler(id: str, place: str) -> dict[str, Any]:
    module, _, name = place.partition(":")
    text = inspect.getdoc(getattr(import_module(module), name)) or ""
    return {"id": id, "formula": " ".join(text.partition("\n\n")[0].split())}


def _methods(rows: list[dict[str, Any]], notes: dict[str, dict[str, str]]) -> list[str]:
    """A section a method. A note about a method that is not there stops the build."""
    if unknown := set(notes) - {row["id"] for row in rows}:
        raise PluginError(f"{NOTES}: no such method: {', '.join(sorted(unknown))}")
    return [_method(row, notes.get(row["id"], {})) for row in rows]


def _method(row: dict[str, Any], note: dict[str, str]) -> str:
    lines = [f"#### {row['id']}\n", f"{_code(row['formula'])}\n"]
    facts = {
        "when": note.get("when"),
        "measured": note.get("measured"),
        "needs": ", ".join(f"`{column}`" for column in row.get("needs", ())),
        "source": row.get("source"),
        "parity": row.get("parity") if row.get("parity") != "none" else "",
    }
    lines += [f"- **{name}**: {text}" for name, text in facts.items() if text]
    return "\n".join(lines) + "\n"


def _code(formula: str) -> str:
    return f"`{formula}`" if "=" in formula else formula
