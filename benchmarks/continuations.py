"""How well ``mc-value`` agrees with the truth by how many continuations it has, beside GRPO and GiGPO.

    agentrl credit bench agentrl/Household-v0 --env-set size=tiny --turn-tokens 24 --groups 6 -k 12 -o truth/household
    python benchmarks/continuations.py truth/household

The stored value of each turn's state, the share of successes among its continuations, stands for the true one, and
``mc-value`` is given ``k`` draws of a coin that falls as often: only its own noise is in its figures, where GRPO's and
GiGPO's have that of the stored values too. *By episode*, as ``loss.aggregate: sequence`` weighs turns: the cosine of
the two gradients where equal steps share one. 20 draws; means and standard deviations.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from agentrl import store
from agentrl.trainers import truth
from agentrl.trainers.credit import assign
from agentrl.trainers.credit.bench import cosine, pearson, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = truth.stored(folder)
    table, true = found.table, found.advantage
    value = np.clip(store.read_table(folder / truth.FILE)["value"].to_numpy(), 0.0, 1.0)
    rng = np.random.default_rng(0)
    weight = 1 / table.length[table.trajectory]
    same = steps(table)
    summed = np.bincount(same, weight * true)
    rows = {
        f"mc-value, k={k}": [
            assign(replace(table, mc_values=rng.binomial(k, value) / k), credit=["mc-value"]).advantages
            for _ in range(20)
        ]
        for k in (1, 2, 4, 8, 16, 64)
    }
    rows["grpo"] = [assign(table, credit=[{"grpo": {"std": False, "statistics": "rows"}}]).advantages]
    step = {"gigpo-step": {"weight": 1.0, "gamma": 0.95, "std": False}}
    rows["gigpo"] = [assign(table, credit=[{"grpo": {"std": False, "statistics": "rows"}}, step]).advantages]
    print("                 correlation    by episode")
    for name, drawn in rows.items():
        turn = [pearson(values, true) for values in drawn]
        whole = [cosine(summed, np.bincount(same, weight * values)) for values in drawn]
        print(f"{name:15s}  {np.mean(turn):.2f} ({np.std(turn):.2f})    {np.mean(whole):.2f} ({np.std(whole):.2f})")


if __name__ == "__main__":
    main()
