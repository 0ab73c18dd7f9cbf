"""Every bundled method through the real training loop: three iterations each, against plain GRPO's.

Each runs on what it needs: branches, a value head, continuations, a judge, tools (chores.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
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
from agentrl.trainers.credit import Credit, TurnTable, ledger, registry
from agentrl.trainers.credit.normalise import group_centred, whitened

pytestmark = pytest.mark.slow  # all of them together
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
    "memact": {"rows": 6},  # of four segments
    "overlong": {"limit": 40, "buffer": 20},
    "pow3r": {"weights": {"subgoal": 2.0, "goal": 1.0}},
    "tool-price": {"call": 0.1},
}
ESTIMATORS = sorted([*registry.BUILTIN["estimator"], *registry.ALIASES])
MODULATORS = sorted(registry.BUILTIN["modulator"])
TRANSFORMS = sorted(registry.BUILTIN["transform"])
SAME_AS_GRPO = {
    "grpo",
    "tree-soft",  # by definition: GRPO of whole trajectories, stems and branches alike
}
BRANCHES = ("rollout.brancher={arpo: {base: 1.0}}",)
SUCCESS = ("limits.turns=16", "rollout.temperature=0.5")  # six turns at temperature 1 may see none
HERE = Path(__file__).parent
CHORES = (
    f"plugins=[{HERE / 'chores.py'}]",
    "env=Chores-v0",
    "limits.turns=16",
)  # tool calls, their scores, tasks again
NEEDS: dict[str, tuple[str, ...]] = {
    "agentprm": ("agentprm={lr: 0.001}",),
    "arena": (f"judge={HERE / 'judge.py'}:shorter",),
    "aspo": CHORES,
    "brier": CHORES,
    "carr": SUCCESS,
    "dcpo-sas": CHORES,
    "gae": ("value={lr: 0.01}",),
    "gae-token": ("value={lr: 0.01}",),
    "graphgpo": SUCCESS,
    "graphgpo-step": SUCCESS,
    "mc-value": ("mc_value.k=2",),
    "otc": CHORES,
    "otc-cosine": CHORES,
    "prime": ("prime={lr: 0.001}",),
    "riskpo": SUCCESS,
    "spo": SUCCESS,
    "tool-price": CHORES,
    "toolrl": CHORES,
    "tree-hard": BRANCHES,
    "tree-soft": BRANCHES,
    "treepo": BRANCHES,
    "xrpo-novelty": SUCCESS,
}
BASE: dict[str, list[Any]] = {"potential-shaping": ["step-grpo"]}  # returns from a state on are the same by design
FIRST = {"carr", "dcpo-sas", "pow3r"}  # may be GRPO in the first iteration: little was earned, no task came before
ITERATIONS = 3


@dataclass
class Trained:
    """A run with the credit that it stored in each of its iterations."""

    folder: Path
    rewards: list[Any]
    credit: list[Any]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "checkpoints" / "last" / "model.safetensors")

    def table(self, iteration: int) -> TurnTable:
        """What credit saw, before the transforms."""
        name = f"{iteration:06d}.parquet"
        return ledger.trained(self.folder / "credit" / name, store.read(self.folder / "trajectories" / name))

    def given(self, iteration: int) -> Credit:
        return ledger.read(self.folder / "credit" / f"{iteration:06d}.parquet", self.table(iteration))


def train(folder: Path, rewards: list[Any], methods: list[Any], needs: tuple[str, ...] = ()) -> Trained:
    api.train(
        "household-tiny",
        policy="small",
        iterations=ITERATIONS,
        group=4,
        rewards=rewards,
        credit=methods,
        out=folder,
        set=(*SETTINGS, *needs),
    )
    return Trained(folder, rewards, methods)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def start() -> dict[str, torch.Tensor]:
    return load_file(Path(locate("small")) / "model.safetensors")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """A run without the method, made once for each way to play and each method that it is added to."""

    @functools.cache
    def made(needs: tuple[str, ...], method: str) -> Trained:
        return train(tmp_path_factory.mktemp("plain") / "run", [], [method], needs)

    return made


@pytest.fixture(scope="module", params=[*ESTIMATORS, *MODULATORS, *TRANSFORMS])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Trained]]:
    id = request.param
    spec, needs, base = {id: OPTIONS.get(id, {})}, NEEDS.get(id, ()), BASE.get(id, ["grpo"])
    folder = tmp_path_factory.mktemp(id) / "run"
    if id in TRANSFORMS:
        yield id, train(folder, [spec], base, needs)
    else:
        yield id, train(folder, [], [spec] if id in ESTIMATORS else [*base, spec], needs)


def test_weights_move_and_away_from_grpos(
    trained: tuple[str, Trained], plain: Callable[..., Trained], start: dict[str, torch.Tensor]
) -> None:
    id, run = trained
    needs = NEEDS.get(id, ())
    other = plain(needs if needs in (BRANCHES, SUCCESS, CHORES) else (), BASE.get(id, ["grpo"])[0])
    found = run.weights
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    assert not same(found, start)
    assert same(found, other.weights) == (id in SAME_AS_GRPO)
    # the first iteration is played by the same policy from the same seeds: only credit differs
    mine, theirs = run.given(0), other.given(0)
    assert mine.table.ids == theirs.table.ids
    if id not in FIRST:
        alike = np.allclose(mine.advantages, theirs.advantages, atol=1e-9)
        assert alike == (id in SAME_AS_GRPO)


def test_credit_from_disk_is_the_credit_that_was_trained_on(trained: tuple[str, Trained]) -> None:
    _, run = trained
    state: dict[str, Any] = {}
    for iteration in range(ITERATIONS):
        given = run.given(iteration)
        again = credit.assign(run.table(iteration), run.rewards, run.credit, state)
        assert np.isfinite(given.advantages).all()
        np.testing.assert_array_equal(again.advantages, given.advantages)
        if again.token_advantages is not None:
            np.testing.assert_array_equal(again.token_advantages, given.token_advantages)
        state = again.state


def test_a_branch_has_a_parent_and_shares_its_turns(plain: Callable[..., Trained]) -> None:
    table = plain(BRANCHES, "grpo").table(0)
    assert (table.parent >= 0).any()
    assert (table.branch_turn[table.parent >= 0] > 0).any()


def test_what_a_method_needs_is_there(plain: Callable[..., Trained]) -> None:
    """The columns that methods read, as sampled play of the household fills them."""
    table = plain((), "grpo").table(0)
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
    chores = plain(CHORES, "grpo").table(1)
    assert 0 < chores.tool_calls.sum() < len(chores)
    assert chores.success.any()
    assert not chores.success.all()
    assert len(np.unique(chores.scores["match"])) > 1


def test_treepo_without_branches_is_its_centred_form(plain: Callable[..., Trained]) -> None:
    table = plain((), "grpo").table(0)
    centred = group_centred(table.outcome, table.group)[table.trajectory]
    expected = whitened(centred, table.tokens)
    np.testing.assert_allclose(credit.assign(table, (), "treepo").advantages, expected, atol=1e-12)
