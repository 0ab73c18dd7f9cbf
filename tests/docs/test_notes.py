"""docs/site/methods.yaml speaks of methods that there are, and of results that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from agentrl.trainers.credit import registry as credit
from agentrl.trainers.losses import registry as losses
from agentrl.trainers.sampling import registry as sampling

DOCS = Path(__file__).parents[2] / "docs"


def test_every_note_is_about_a_method_and_its_result_exists() -> None:
    notes = yaml.safe_load((DOCS / "site" / "methods.yaml").read_text())
    known = {kind: set(credit.names(kind)) for kind in credit.BUILTIN}
    known |= {kind: set(losses.names(kind)) for kind in losses.BUILTIN}
    known |= {kind: set(sampling.names(kind)) for kind in sampling.BUILTIN}
    assert set(notes) <= set(known)
    for kind, of in notes.items():
        assert set(of) <= known[kind], kind
        for id, note in of.items():
            assert set(note) <= {"when", "measured"}, id
            assert all((DOCS / link).is_file() for link in re.findall(r"\]\(([^)]*)\)", note.get("measured", ""))), id
