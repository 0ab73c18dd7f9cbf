"""TRL's side: GRPOTrainer with environment_factory and transformers generation. Run by TRL's own Python.

Arguments: the settings as a JSON file. Writes a line an iteration to ``out``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from rooms import TASKS, TURNS, Tools, score
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

# how a reply of this policy is read, in the words of transformers' response parsing; as TRL's own for Qwen3
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|end\|>\s*", "content": "text"},
    },
}


class Clock(TrainerCallback):
    """A line an iteration: its episodes' success, and seconds since training began, in all and by part."""

    def __init__(self, out: Path, per_iteration: int, seconds: float, goal: float, window: int) -> None:
        self.out, self.per_iteration, self.limit = out, per_iteration, seconds
        self.goal, self.window = goal, window
        self.begin = self.begin_cpu = 0.0
        self.rewards: list[float] = []
        self.tokens = 0
        self.parts: dict[str, float] = {}
        self.history: list[float] = []

    def timed(self, owner: Any, name: str, part: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*args, **options)
            finally:
                self.parts[part] = self.parts.get(part, 0.0) + time.perf_counter() - start

        setattr(owner, name, wrapped)

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.begin, self.begin_cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % self.per_iteration:
            return
        seconds = time.perf_counter() - self.begin
        success = sum(self.rewards) / max(1, len(self.rewards))
        self.history.append(success)
        line = {"seconds": seconds, "success": success, "tokens": self.tokens, "parts": dict(self.parts)}
        line["processor_seconds"] = time.process_time() - self.begin_cpu
        with self.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.rewards = []
        recent = self.history[-self.window :]
        reached = len(self.history) >= self.window and sum(recent) / len(recent) >= self.goal
        control.should_training_stop |= seconds > self.limit or reached


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    tokenizer = AutoTokenizer.from_pretrained(given["policy"])
    tokenizer.response_template = RESPONSE
    model = AutoModelForCausalLM.from_pretrained(given["policy"], dtype=torch.float32)
    episodes, batches = given["tasks"] * given["group"], given["minibatches"]
    clock = Clock(Path(given["out"]), batches, given["seconds"], given["goal"], given["window"])

    def reward(**known: Any) -> list[float]:
        found = score(**known)
        clock.rewards += found
        return found

    messages = [{"role": "system", "content": given["system"]}, {"role": "user", "content": ""}]
    data = Dataset.from_list([{"prompt": messages, "task": task} for task in TASKS["train"]])
    config = GRPOConfig(
        output_dir=given["folder"],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,  # on by default; it would only cost time here
        per_device_train_batch_size=episodes // batches,
        steps_per_generation=batches,
        num_generations=given["group"],
        max_completion_length=given["tokens"],
        max_tool_calling_iterations=TURNS - 1,
        generation_kwargs={"max_new_tokens": given["turn_tokens"]},
        temperature=1.0,
        learning_rate=given["lr"],
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=given["warmup"],
        max_grad_norm=1.0,
        weight_decay=0.0,
        adam_beta1=given["betas"][0],
        adam_beta2=given["betas"][1],
        beta=0.0,
        epsilon=0.2,
        loss_type="grpo",
        scale_rewards="group" if given["std"] else "none",
        max_steps=given["iterations"] * batches,
        save_strategy="no",
        report_to=[],
        logging_steps=1_000_000,
        disable_tqdm=True,
        seed=given["seed"],
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        environment_factory=Tools,
        callbacks=[clock],
    )
    clock.timed(trainer, "_generate_single_turn", "sampling")
    clock.timed(trainer, "_generate", "rollout")
    clock.timed(trainer, "_get_tool_suffix_ids", "templates")
    clock.timed(trainer, "_prepare_inputs", "before the update")
    real = trainer._generate

    def generate(prompts: list[Any]) -> Any:
        found = real(prompts)
        prompts, mask = found[0], found[2]
        clock.tokens += sum(map(sum, mask))
        Path(given["first"]).write_text(json.dumps({"task": trainer.environments[0].task, "ids": prompts[0]}))
        return found

    trainer._generate = generate
    trainer.train()
    trainer.save_model(given["folder"])
    tokenizer.save_pretrained(given["folder"])


if __name__ == "__main__":
    main()
