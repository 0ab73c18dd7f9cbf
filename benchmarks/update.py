"""What bounds an update on a CPU: ``python benchmarks/update.py``. Matrix products of the bundled policy's shapes."""

from __future__ import annotations

import argparse
import copy
import json
import time

import torch
from torch import nn

from agentrl.policies.linear import speed_up

SHAPES = [(160, 160), (160, 32), (160, 448), (448, 160), (160, 1152)]
REPEATS = 20


def seconds(layer: nn.Module, x: torch.Tensor, grad: torch.Tensor) -> float:
    """Forward and backward, the best of several, in processor time: other work on the machine counts less."""
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        layer(x).backward(grad)
        best = min(best, time.process_time() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    rows = parser.parse_args().rows
    torch.set_num_threads(1)
    table = []
    for inputs, outputs in SHAPES:
        plain = nn.Linear(inputs, outputs, bias=False)
        fast = speed_up(copy.deepcopy(nn.Sequential(plain)))
        x = torch.randn(rows, inputs, requires_grad=True)
        grad = torch.randn(rows, outputs)
        work = 6 * rows * inputs * outputs / 1e9
        took = [seconds(layer, x, grad) for layer in (plain, fast)]
        table.append({"shape": [inputs, outputs], "mkl": round(work / took[0], 1), "onednn": round(work / took[1], 1)})
    print(json.dumps({"rows": rows, "gflops, forward and backward, one core": table}, indent=1))


if __name__ == "__main__":
    main()
