"""What credit costs on one core: ``python benchmarks/credit.py [--out FILE.json] [--only estimators|similarity]``.

Estimators on groups of ten episodes of about ten turns that walk over twenty states, at 10^4, 10^5 and 10^6 turns, with
the exponent fitted to the three; at 10^5 beside plain loops over dictionaries. Similarity anchors on what a random
player sees in the household and on random texts, beside the plain loop that compares each observation with every
cluster, which must find the same clusters. Seconds are of the processor. The first takes half a minute, the second six.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from agentrl.envs.household.env import Household
from agentrl.envs.household.tasks import splits
from agentrl.trainers.credit import TurnTable, assign, registry
from agentrl.trainers.credit.gigpo import similar

SIZES = (10_000, 100_000, 1_000_000)
BESIDE = 100_000  # turns at which plain loops run, too
EPISODES, STATES, ACTIONS = 10, 20, 3
GAMMA, THRESH = 0.95, 0.95
T = TypeVar("T")


def batch(turns: int, seed: int = 0) -> TurnTable:
    """About ``turns`` turns: groups of ten episodes of 5 to 15 turns each."""
    rng = np.random.default_rng(seed)
    m = turns // 10
    length = rng.integers(5, 16, m)
    n = int(length.sum())
    group = np.repeat(np.arange(-(-m // EPISODES)), EPISODES)[:m]
    walk = rng.integers(-1, 2, n).cumsum() % STATES
    outcome = rng.choice([0.0, 1.0], m)
    reward = np.zeros(n)
    reward[length.cumsum() - 1] = outcome
    branched = np.arange(m) % EPISODES == 1
    ids = [f"{k:09d}" for k in range(m)]
    return TurnTable.from_arrays(
        ids=ids,
        group=[f"{g:09d}" for g in group],
        length=length.tolist(),
        reward=reward,
        outcome=outcome,
        anchor=walk.tolist(),
        observation=walk.tolist(),
        action=rng.integers(0, ACTIONS, n).tolist(),
        valid=rng.random(n) < 0.95,
        tokens=rng.integers(1, 40, n),
        entropy=rng.random(n),
        logprob=-rng.random(n),
        parent=[ids[k - 1] if b else None for k, b in enumerate(branched)],
        branch_turn=np.where(branched, 2, 0),
        rewards={"answer": outcome, "form": rng.random(m)},
    )


def timed(repeats: int, call: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    """Processor seconds of the best of several runs, which do not count what else the machine does, and its result."""
    best = math.inf
    for _ in range(repeats):
        begin = time.process_time()
        found = call(*arguments)
        best = min(best, time.process_time() - begin)
    return best, found


def plain_gigpo(table: TurnTable) -> list[float]:
    """GRPO and GiGPO's step part without division by the deviation, a dictionary and a loop each."""
    returns = [0.0] * len(table)
    for row in reversed(range(len(table))):
        last = row + 1 == len(table) or table.turn[row + 1] == 0
        returns[row] = float(table.reward[row]) + (0.0 if last else GAMMA * returns[row + 1])
    outcomes, anchors = defaultdict(list), defaultdict(list)
    for k, outcome in enumerate(table.outcome):
        outcomes[table.group[k]].append(outcome)
    for row, value in enumerate(returns):
        anchors[table.group[table.trajectory[row]], table.anchor[row]].append(value)
    mean = {key: sum(values) / len(values) for key, values in outcomes.items()}
    alike = {key: sum(values) / len(values) for key, values in anchors.items()}
    found = []
    for row, value in enumerate(returns):
        k = table.trajectory[row]
        group = table.group[k]
        found.append(table.outcome[k] - mean[group] + value - alike[group, table.anchor[row]])
    return found


def plain_salt(table: TurnTable) -> list[float]:
    """SALT on Dr.GRPO, plain edges."""
    outcomes, edges = defaultdict(list), defaultdict(list)
    for k, outcome in enumerate(table.outcome):
        outcomes[table.group[k]].append(outcome)
    mean = {key: sum(values) / len(values) for key, values in outcomes.items()}
    keys: list[tuple[int, ...] | None] = []
    own = []
    for row in range(len(table)):
        k = table.trajectory[row]
        own.append(table.outcome[k] - mean[table.group[k]])
        known = table.valid[row] and table.next_anchor[row] >= 0
        keys.append((table.group[k], table.anchor[row], table.action[row], table.next_anchor[row]) if known else None)
        if known:
            edges[keys[-1]].append(own[-1])
    merged = {key: sum(values) / len(values) for key, values in edges.items()}
    return [merged[key] if key is not None else value for key, value in zip(keys, own, strict=True)]


PLAIN: dict[str, tuple[Callable[[TurnTable], list[float]], dict[str, Any]]] = {
    "gigpo": (plain_gigpo, {"std": False, "gamma": GAMMA}),
    "salt": (plain_salt, {"base": "dr-grpo"}),
}


def estimators() -> list[dict[str, Any]]:
    tables = {}
    built = {}
    for size in SIZES:
        begin = time.process_time()
        tables[size] = batch(size)
        built[size] = time.process_time() - begin
    needed = {column for column in ("values", "token_values", "mc_values") if hasattr(tables[BESIDE], column)}
    rows = [_row("(the table)", built, None)]
    for id in [*sorted(registry.BUILTIN["estimator"]), *registry.ALIASES]:
        parts = [registry.get("estimator", part) for part in registry.ALIASES.get(id, (id,))]
        if any(need in needed or need.startswith("score:") for part in parts for need in part.needs):
            continue  # a column that a model gives
        spec = {id: PLAIN[id][1] if id in PLAIN else {}}
        took = {size: timed(1 if size > BESIDE else 3, assign, table, (), spec)[0] for size, table in tables.items()}
        beside = None
        if id in PLAIN:
            beside, expected = timed(1, PLAIN[id][0], tables[BESIDE])
            np.testing.assert_allclose(assign(tables[BESIDE], credit=spec).advantages, expected, atol=1e-9)
        rows.append(_row(id, took, beside))
    return rows


def _row(id: str, took: dict[int, float], beside: float | None) -> dict[str, Any]:
    exponent = np.polyfit(np.log(list(took)), np.log(list(took.values())), 1)[0]
    return {
        "estimator": id,
        "seconds": {str(size): round(value, 4) for size, value in took.items()},
        "exponent": round(float(exponent), 2),
        "plain_loop_s": None if beside is None else round(beside, 3),
    }


def played(turns: int, group: int, admissible: bool) -> list[list[str]]:
    """Groups of ``group`` observations of one task each, seen by a player who takes random admissible commands."""
    env, rng = Household(size="small", admissible=admissible), random.Random(0)
    groups = []
    for task in splits("small")["train"][: turns // group]:
        seen: list[str] = []
        while len(seen) < group:
            observation, _ = env.reset(options={"task": task})
            for _ in range(min(50, group - len(seen))):
                seen.append(str(observation))
                found = env.admissible_actions()
                observation, _, done, _, _ = env.step(found[int(rng.random() * len(found))])
                if done:
                    break
        groups.append(seen)
    return groups


def random_texts(count: int, length: int = 100) -> list[list[str]]:
    rng = random.Random(0)
    return [["".join(rng.choices("abcdefghijklmnopqrstuvwxyz    ", k=length)) for _ in range(count)]]


def plain_similar(groups: Sequence[Sequence[str]]) -> list[int]:
    """The published loop: each observation against the first member of every cluster of its group, in order."""
    found = []
    for texts in groups:
        members: list[str] = []
        for text in texts:
            near = (k for k, m in enumerate(members) if SequenceMatcher(None, text, m).ratio() >= THRESH)
            found.append(next(near, len(members)))
            if found[-1] == len(members):
                members.append(text)
    return found


def similarity(turns: int) -> list[dict[str, Any]]:
    sets = {
        "household, groups of 400": played(turns, 400, admissible=False),
        "household, one group": played(turns, turns, admissible=False),
        "household with the list of commands, groups of 400": played(turns, 400, admissible=True),
        "random texts, one group": random_texts(turns // 20),
    }
    rows = []
    for name, groups in sets.items():
        texts = [text for group in groups for text in group]
        table = TurnTable.from_arrays(
            ids=[f"{g:06d}" for g in range(len(groups))],
            group=[f"{g:06d}" for g in range(len(groups))],
            length=[len(group) for group in groups],
            reward=[0.0] * len(texts),
            observation=texts,
        )
        took, found = timed(3, similar, table, THRESH)
        beside, expected = timed(1, plain_similar, groups)
        assert found.tolist() == expected, name
        rows.append(
            {
                "texts": name,
                "turns": len(texts),
                "distinct": sum(len(set(group)) for group in groups),
                "characters": round(sum(map(len, texts)) / len(texts)),
                "clusters": sum(len(set(found[table.turn_group == g].tolist())) for g in range(len(groups))),
                "seconds": round(took, 4),
                "plain_loop_s": round(beside, 2),
                "times": round(beside / took),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures to this file, too")
    parser.add_argument("--only", choices=("estimators", "similarity"))
    parser.add_argument("--turns", type=int, default=10_000, help="turns of the similarity anchors")
    given = parser.parse_args()
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "numpy": np.__version__}
    if given.only != "similarity":
        report["estimators"] = estimators()
        print(f"{'estimator':24}" + "".join(f"{size:>12,}" for size in SIZES) + f"{'exponent':>10}{'plain loop':>12}")
        for row in report["estimators"]:
            times = "".join(f"{value:>11.3f}s" for value in row["seconds"].values())
            beside = "" if row["plain_loop_s"] is None else f"{row['plain_loop_s']:.2f}s"
            print(f"{row['estimator']:24}{times}{row['exponent']:>10}{beside:>12}")
    if given.only != "estimators":
        report["similarity"] = similarity(given.turns)
        print(f"{'texts':52}{'turns':>8}{'distinct':>10}{'clusters':>10}{'seconds':>10}{'plain loop':>12}{'times':>8}")
        for row in report["similarity"]:
            print(
                f"{row['texts']:52}{row['turns']:>8,}{row['distinct']:>10,}{row['clusters']:>10,}{row['seconds']:>10}"
                f"{row['plain_loop_s']:>12}{row['times']:>8,}"
            )
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
