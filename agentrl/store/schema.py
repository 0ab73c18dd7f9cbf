"""The columns of a trajectory file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

FORMAT = b"3"  # what is written; migrate.py reads the earlier ones

CALL = pa.struct(
    {
        "name": pa.string(),
        "arguments": pa.string(),
        "result_chars": pa.int64(),
        "seconds": pa.float64(),
        "cost": pa.float64(),
        "error": pa.string(),
    }
)
_NAMED = pa.map_(pa.string(), pa.float64())
TURN = {
    "observation": pa.string(),
    "state_key": pa.string(),
    "prompt_shared": pa.int32(),
    "prompt_new": pa.list_(pa.int32()),
    "completion_ids": pa.list_(pa.int32()),
    "logprobs": pa.list_(pa.float32()),
    "entropies": pa.list_(pa.float32()),
    "text": pa.string(),
    "action": pa.string(),
    "error": pa.string(),
    "valid": pa.bool_(),
    "rewards": _NAMED,
    "tool_calls": pa.list_(CALL),
    "versions": pa.list_(pa.struct({"token": pa.int32(), "version": pa.int64()})),
    "seconds": _NAMED,
    "agent": pa.string(),
    "policy": pa.string(),
    "trainable": pa.bool_(),
    "images": pa.list_(pa.string()),
    "info": pa.string(),
}
TRAJECTORY = {
    "id": pa.string(),
    "group": pa.string(),
    "iteration": pa.int64(),
    "env": pa.string(),
    "task": pa.string(),
    "task_id": pa.string(),
    "task_type": pa.string(),
    "kwargs": pa.string(),
    "seed": pa.int64(),
    "success": pa.bool_(),
    "reward": pa.float64(),
    "n_turns": pa.int64(),
    "sampled_tokens": pa.int64(),
    "stop_reason": pa.string(),
    "trusted": pa.bool_(),
    "error": pa.string(),
    "parent": pa.string(),
    "branch_turn": pa.int64(),
    "branch_token": pa.int64(),
    "info": pa.string(),
}
ARRAYS: dict[str, type] = {
    "prompt_new": np.int32,
    "completion_ids": np.int32,
    "logprobs": np.float32,
    "entropies": np.float32,
}
SCHEMA = pa.schema({**TRAJECTORY, "turns": pa.list_(pa.struct(TURN))})
