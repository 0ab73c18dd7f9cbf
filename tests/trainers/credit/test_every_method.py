"""Every bundled method on one batch that has it all: branches, loops, named rewards, entropies, invalid turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign, names, registry
from agentrl.trainers.credit.table import LARGEST

WHERE_IT_IS_GRPO = {"grpo", "tree-soft", "dcpo-sas"}  # the last on a task's first batch
FLAT = {
    "appo",
    "dcpo-sas",
    "grpo",
    "spo",
    "tree-soft",
    "riskpo",
    "rloo",
    "mc-grpo",
    "opob",
    "reinforce-pp-baseline",
    "gdpo",
    "treepo",
}  # one advantage a trajectory

LACKS = (
    r" needs (a state key|an action|the (entropies|log-probabilities|score|values)|a critic's|a process reward"
    r"|rewards by name)"
)


def batch(groups: int = 4, size: int = 4, turns: int = 6) -> TurnTable:
    rng = np.random.default_rng(7)
    m, n = groups * size, groups * size * turns
    tokens = rng.integers(1, 30, n)
    names = [f"{k // size}-{k % size}" for k in range(m)]
    outcome = rng.choice([0.0, 0.5, 1.0], m)
    reward = np.zeros((m, turns))
    reward[:, 1], reward[:, -1] = 0.2 * rng.random(m), outcome
    states = rng.integers(0, 5, (m, turns))
    branched = np.arange(m) % size == 2  # a copy of the first two turns of the one before
    for k in np.flatnonzero(branched):
        states[k, :2] = states[k - 1, :2]
    return TurnTable.from_arrays(
        ids=names,
        group=[f"{k // size}" for k in range(m)],
        length=[turns] * m,
        reward=reward.ravel(),
        success=outcome > 0.5,
        ended=rng.choice(["terminated", "max_turns"], m),
        anchor=[f"s{s}" for s in states.ravel()],
        observation=[f"you see room {s}" for s in states.ravel()],
        action=[f"a{a}" for a in rng.integers(0, 2, n)],
        valid=rng.random(n) < 0.9,
        tokens=tokens,
        entropy=rng.random(n),
        logprob=-rng.random(n),
        tool_calls=rng.integers(0, 3, n),
        cost=rng.random(n),
        parent=[names[k - 1] if branched[k] else None for k in range(m)],
        branch_turn=[2 if branched[k] else 0 for k in range(m)],
        rewards={"answer": outcome, "format": rng.random(m), "rubric": rng.random(m)},
        scores={name: rng.random(n) for name in ("potential", "confidence", "match", "arena", "action_value")},
        values=rng.random(n),
        mc_values=rng.random(n),
        token_values=[rng.random(k) for k in tokens],
        token_rewards=[rng.normal(size=k) for k in tokens],
        last_value=rng.random(m),
        starts_segment=rng.random(n) < 0.3,
    )


@pytest.fixture(scope="module")
def table() -> TurnTable:
    return batch()


def bundled(kind: registry.Kind) -> list[str]:
    aliases = list(registry.ALIASES) if kind == "estimator" else []
    return sorted([*registry.BUILTIN[kind], *aliases])


@pytest.mark.parametrize("id", bundled("estimator"))
def test_estimators(table: TurnTable, id: str) -> None:
    found = assign(table, credit=id).advantages
    assert np.isfinite(found).all()
    assert found.any()
    assert np.allclose(found, assign(table).advantages) == (id in WHERE_IT_IS_GRPO)
    flat = bool((found == found[table.start][table.trajectory]).all())
    assert flat == (id in FLAT)


@pytest.mark.parametrize("id", bundled("estimator"))
def test_a_groups_advantages_do_not_depend_on_the_names_of_its_trajectories(table: TurnTable, id: str) -> None:
    """Order is by name; what a trajectory earns is not."""
    m = len(table.ids)
    backwards = [f"{m - k:03d}" for k in range(m)]
    renamed = TurnTable.from_arrays(
        ids=backwards,
        group=[str(g) for g in table.group],
        length=table.length,
        reward=table.reward,
        outcome=table.outcome,
        success=table.success,
        ended=table.ended,
        anchor=table.anchor.tolist(),
        next_anchor=[s if s >= 0 else None for s in table.next_anchor.tolist()],
        action=table.action.tolist(),
        valid=table.valid,
        tokens=table.tokens,
        entropy=table.entropy,
        logprob=table.logprob,
        parent=[backwards[p] if p >= 0 else None for p in table.parent],
        branch_turn=table.branch_turn,
        rewards=table.rewards,
        scores=table.scores,
        values=table.values,
        mc_values=table.mc_values,
        token_values=np.split(table.token_values, np.cumsum(table.tokens)[:-1]),
        token_rewards=np.split(table.token_rewards, np.cumsum(table.tokens)[:-1]),
        last_value=table.last_value,
        starts_segment=table.starts_segment,
    )
    spec = {"memact": {"rows": None}} if id == "memact" else id  # whose draws go by place
    one, two = assign(table, credit=spec), assign(renamed, credit=spec)
    for k, name in enumerate(table.ids):
        np.testing.assert_allclose(two.of(backwards[k]), one.of(name), atol=1e-7)


@pytest.mark.parametrize("id", bundled("modulator"))
def test_modulators(table: TurnTable, id: str) -> None:
    options = {"clip": {"limit": 0.5}}.get(id, {})
    found = assign(table, credit=["grpo", {id: options}]).advantages
    assert np.isfinite(found).all()
    assert not np.allclose(found, assign(table).advantages)


@pytest.mark.parametrize("id", bundled("transform"))
def test_transforms(table: TurnTable, id: str) -> None:
    options = {
        "alp": {"beta": 0.01},
        "overlong": {"limit": 100, "buffer": 50},
        "pow3r": {"weights": {"answer": 1.0, "format": 1.0}},
    }.get(id, {})
    if id == "potential-shaping":  # what an episode was worth stays
        credit = assign(table, [id], "reinforce-pp")
        assert (credit.table.outcome == table.outcome).all()
        assert not np.allclose(credit.advantages, assign(table, credit="reinforce-pp").advantages)
        return
    credit = assign(table, [{id: options}])
    assert np.isfinite(credit.advantages).all()
    assert not np.allclose(credit.advantages, assign(table).advantages)
    total = np.bincount(credit.table.trajectory, credit.table.reward)
    np.testing.assert_allclose(total, credit.table.outcome, atol=1e-9)


@pytest.mark.parametrize("id", bundled("estimator"))
@pytest.mark.filterwarnings("error")
def test_the_largest_rewards_do_not_overflow(table: TurnTable, id: str) -> None:
    times = LARGEST / 10
    rewards = {name: times * totals for name, totals in table.rewards.items()}
    large = replace(table, reward=times * table.reward, outcome=times * table.outcome, rewards=rewards)
    assert np.isfinite(assign(large, credit=id).advantages).all()


@pytest.mark.parametrize("id", sorted({*bundled("estimator"), *bundled("modulator")}))
def test_nothing_in_nothing_out(id: str) -> None:
    methods = [id] if id in names("estimator") else ["grpo", id]
    assert len(assign(TurnTable.from_groups([]), credit=methods).advantages) == 0


@pytest.mark.parametrize("id", sorted({*bundled("estimator"), *bundled("modulator")}))
def test_what_a_method_lacks_is_named(id: str) -> None:
    """A table of rewards alone: a method works on it, or says in one sentence what it needs."""
    bare = TurnTable.from_arrays(ids=["a", "b"], group=["g", "g"], length=[2, 1], reward=[0.0, 1.0, 0.0])
    methods = [id] if id in names("estimator") else ["grpo", id]
    wanted = {
        column
        for part in registry.ALIASES.get(id, (id,))
        for kind in ("estimator", "modulator")
        if part in names(kind)
        for column in registry.get(kind, part).needs
    }
    columns = {
        "anchor",
        "action",
        "entropy",
        "logprob",
        "rewards",
        "values",
        "token_values",
        "token_rewards",
        "mc_values",
    }
    if wanted & columns or any(w.startswith("score:") for w in wanted):
        with pytest.raises(UserError, match=LACKS):
            assign(bare, credit=methods)
    else:
        assert np.isfinite(assign(bare, credit=methods).advantages).all()
