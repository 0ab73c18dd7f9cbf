"""Peak memory of one update, by what saves it: ``python benchmarks/memory.py``. Prints JSON, in MiB above the start.

Each setting runs in a process of its own: a model of 4 layers with a vocabulary of 49,152 (SmolLM2's), 2,048 tokens.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

SETTINGS = ("plain", "logits at once", "checkpointing", "bf16", "checkpointing and bf16", "lora")


def one(setting: str, tokens: int) -> dict[str, float]:
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from agentrl.trainers import adapters, batching
    from agentrl.trainers.batching import Sample
    from agentrl.trainers.recipe import LoraConfig, LossConfig, OptimConfig
    from agentrl.trainers.update import Learner

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if setting == "logits at once":
        batching.LOGITS_PER_CHUNK = 1 << 40
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=49152, intermediate_size=768, tie_word_embeddings=True, **shape))
    if setting == "lora":
        adapters.add(model, LoraConfig(), "none", 0)
    optim = OptimConfig(checkpointing="checkpointing" in setting, bf16="bf16" in setting)
    learner = Learner(model, optim, LossConfig(max_logprob_gap=99))
    rng, made = np.random.default_rng(0), []
    for k in range(tokens // 256):
        ids, zeros = rng.integers(0, 49152, 256).astype(np.int32), np.zeros(256, np.float32)
        made.append(Sample(ids, zeros + 1, zeros - 10, zeros + 1, np.full(256, k, np.int32), k))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    learner.update(made, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"MiB": round((peak - before) / 1024), "processor seconds": round(time.process_time() - begin, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--one", choices=SETTINGS, help="this setting, in this process")
    given = parser.parse_args()
    if given.one:
        return print(json.dumps(one(given.one, given.tokens)))
    report = {}
    for setting in SETTINGS:
        command = [sys.executable, __file__, "--one", setting, "--tokens", str(given.tokens)]
        report[setting] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
