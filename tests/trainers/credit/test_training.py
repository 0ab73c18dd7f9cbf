"""Every bundled method through the real training loop: two iterations each, against plain GRPO's.

What the loop cannot give yet: branched trajectories (no engine makes them), so the tree methods are held to what they
are without branches; tool calls, since the household has no tools, so prices on calls must change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agentrl import api, store
from agentrl.policies.load import locate
from agentrl.trainers import credit
from agentrl.trainers.credit import Credit, TurnTable, registry
from agentrl.trainers.credit.normalise import group_centred, whitened

SETTINGS = (
    "kwargs.reward=dense",  # named rewards, and outcomes that differ after a few turns
    "rollout.tasks=3",
    "limits.turns=6",
    "limits.turn_tokens=12",
    "threads=1",
    "evaluate=false",
)
OPTIONS: dict[str, dict[str, Any]] = {  # where the default would not be felt in twelve short episodes
    "alp": {"beta": 0.01},
    "carr": {"rubric": "subgoal"},
    "clip": {"limit": 0.5},
    "overlong": {"limit": 40, "buffer": 20},
    "pow3r": {"weights": {"subgoal": 2.0, "goal": 1.0}},
    "tool-price": {"call": 0.1},
}
ESTIMATORS = sorted([*registry.BUILTIN["estimator"], *registry.ALIASES])
MODULATORS = sorted(registry.BUILTIN["modulator"])
TRANSFORMS = sorted(set(registry.BUILTIN["transform"]) - {"toolrl"})  # the household wants no certain calls
SAME_AS_GRPO = {
    "grpo",
    "dcpo-sas",  # every task comes once
    "xrpo-novelty",  # nobody succeeds
    "brier",  # nobody states a confidence, and all fail alike
    "potential-shaping",  # outcomes stay
    "tree-hard",  # every turn has one trajectory
    "tree-soft",
    "otc",  # no tool calls: nothing to price
    "otc-cosine",
    "tool-price",
}


@dataclass
class Trained:
    """A run with the credit that each of its iterations was given."""

    folder: Path
    given: list[Credit]
    rewards: list[Any]
    credit: list[Any]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "checkpoints" / "last" / "model.safetensors")


def train(folder: Path, rewards: list[Any], methods: list[Any]) -> Trained:
    """The loop does not store advantages, so they are noted as it asks for them."""
    given: list[Credit] = []
    real = credit.assign

    def noted(*args: Any) -> Credit:
        given.append(real(*args))
        return given[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credit, "assign", noted)
        api.train(
            "household-tiny",
            policy="small",
            iterations=2,
            group=4,
            rewards=rewards,
            credit=methods,
            out=folder,
            set=SETTINGS,
        )
    return Trained(folder, given, rewards, methods)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def start() -> dict[str, torch.Tensor]:
    return load_file(Path(locate("small")) / "model.safetensors")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("plain") / "run", [], ["grpo"])


@pytest.fixture(scope="module", params=[*ESTIMATORS, *MODULATORS, *TRANSFORMS])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Trained]]:
    id = request.param
    spec = {id: OPTIONS.get(id, {})}
    folder = tmp_path_factory.mktemp(id) / "run"
    if id in TRANSFORMS:
        yield id, train(folder, [spec], ["grpo"])
    else:
        yield id, train(folder, [], [spec] if id in ESTIMATORS else ["grpo", spec])


def test_weights_move_and_away_from_grpos(
    trained: tuple[str, Trained], plain: Trained, start: dict[str, torch.Tensor]
) -> None:
    id, run = trained
    found = run.weights
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    assert not same(found, start)
    assert same(found, plain.weights) == (id in SAME_AS_GRPO)
    # the first iteration is played by the same policy from the same seeds: only credit differs
    mine, theirs = run.given[0], plain.given[0]
    assert mine.table.ids == theirs.table.ids
    no_success = id == "graphgpo" and not mine.table.success.any()  # without one its step part is 0
    alike = np.allclose(mine.advantages, theirs.advantages, atol=1e-9)
    assert alike == (id in SAME_AS_GRPO or no_success)


def test_credit_from_disk_is_the_credit_that_was_trained_on(trained: tuple[str, Trained]) -> None:
    _, run = trained
    state: dict[str, Any] = {}
    assert len(run.given) == 2
    for iteration, given in enumerate(run.given):
        groups = store.read(run.folder / "trajectories" / f"{iteration:06d}.parquet")
        again = credit.assign(TurnTable.from_groups(groups), run.rewards, run.credit, state)
        assert again.table.ids == given.table.ids
        assert np.isfinite(given.advantages).all()
        np.testing.assert_array_equal(again.advantages, given.advantages)
        state = again.state


def test_what_a_method_needs_is_there(plain: Trained) -> None:
    """The columns that methods read, as sampled play of the household fills them."""
    table = plain.given[0].table
    for column in (table.anchor, table.action):
        assert (column >= 0).all()
        assert len(np.unique(column)) > 1
    assert (table.entropy > 0).all()
    assert (table.tokens > 0).all()
    assert set(table.rewards) <= {"subgoal", "goal"}
    assert table.rewards
    assert (table.parent == -1).all()
    assert not table.tool_calls.any()
    assert not table.valid.all()
    assert len(np.unique(table.outcome)) > 1


def test_treepo_without_branches_is_its_centred_form(plain: Trained) -> None:
    table = plain.given[0].table
    centred = group_centred(table.outcome, table.group)[table.trajectory]
    expected = whitened(centred, table.tokens)
    np.testing.assert_allclose(credit.assign(table, (), "treepo").advantages, expected, atol=1e-12)
