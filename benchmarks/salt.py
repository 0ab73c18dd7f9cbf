"""Where SALT's advantages go: turns by what merging does to them, against what they were truly worth.

    agentrl credit bench agentrl/Household-v0 --env-set size=tiny --turn-tokens 24 --groups 6 -k 12 -o truth/household
    python benchmarks/salt.py truth/household

Means weigh each turn by 1 / (turns of its episode), as ``loss.aggregate: sequence`` does; the last row is how well the
gradients agree, counted the same way (*by episode* of ``agentrl credit bench``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from agentrl.trainers import truth
from agentrl.trainers.credit import assign
from agentrl.trainers.credit.bench import cosine, steps
from agentrl.trainers.credit.salt import steps as edges

ARMS = {
    "grpo, over turns": {"grpo": {"std": False, "statistics": "rows"}},
    "grpo, over episodes": {"grpo": {"std": False}},
    "salt, over turns": {"salt": {"base": "dr-grpo", "statistics": "rows"}},
    "salt, over episodes": {"salt": {"base": "dr-grpo"}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    found = truth.stored(parser.parse_args().folder)
    table, true = found.table, found.advantage
    step, known = edges(table, 0)
    votes = known & table.valid
    makers = np.unique(np.stack([step, table.trajectory]), axis=1)[0]  # each episode counts once
    several = np.bincount(makers)[step] > 1
    kinds = {"several episodes": votes & several, "one episode": votes & ~several, "not merged": ~votes}
    weight = 1 / table.length[table.trajectory]
    given = {name: assign(table, credit=[arm]).advantages for name, arm in ARMS.items()}
    print("turns             share    true  " + "  ".join(given))
    for kind, of in kinds.items():
        means = [np.average(values[of], weights=weight[of]) for values in given.values()]
        cells = "  ".join(f"{mean:+.3f}".rjust(len(name)) for name, mean in zip(given, means, strict=True))
        print(f"{kind:16s}  {of.mean():5.1%}  {np.average(true[of], weights=weight[of]):+.3f}  {cells}")
    same = steps(table)
    sums = [np.bincount(same, weight * values) for values in (true, *given.values())]
    cells = "  ".join(
        f"{cosine(sums[0], other):.3f}".rjust(len(name)) for name, other in zip(given, sums[1:], strict=True)
    )
    print(f"{'agreement':33s}  {cells}")


if __name__ == "__main__":
    main()
