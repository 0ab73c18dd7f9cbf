"""Small vision-language policies with random weights, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import AutoModelForImageTextToText, InternVLConfig, Qwen2_5_VLConfig, Qwen2VLConfig, Qwen3VLConfig
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from agentrl.trainers.models import train_tokenizer

MARKS = {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>", "image": "<|image_pad|>"}
MARKUP = "<|vision_start|><|image_pad|><|vision_end|>"
SEEING: dict[str, tuple[type, dict[str, Any]]] = {
    "qwen2_vl": (Qwen2VLConfig, {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}),
    "qwen2_5_vl": (
        Qwen2_5_VLConfig,
        {"hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "window_size": 16}
        | {"fullatt_block_indexes": [1]},
    ),
    "qwen3_vl": (
        Qwen3VLConfig,
        {"hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "deepstack_visual_indexes": [0]}
        | {"num_position_embeddings": 64},
    ),
    "internvl": (
        InternVLConfig,
        {"hidden_size": 32, "intermediate_size": 48, "image_size": 16, "num_hidden_layers": 2}
        | {"num_attention_heads": 2},
    ),
}


def small(folder: Path, kind: str = "qwen2_vl", seed: int = 0, window: int = 256, head: int = 16) -> Path:
    """A policy folder of about 0.15M parameters; an image of 16 x 16 becomes four tokens. ``head``: numbers a head."""
    words = "Say what colour the square has: red, green or blue.\ncolour? red green blue the end <action></action>"
    tokenizer = train_tokenizer([words] * 4, 384)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in [*MARKS.values(), "<|video_pad|>"]])
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in MARKS.items()}
    text = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 64 // head,
        "num_key_value_heads": 32 // head,
        "head_dim": head,
        "max_position_embeddings": window,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
            "mrope_interleaved": kind == "qwen3_vl",  # transformers knows by the type, vLLM by this
            "rope_theta": 10000.0,
        },
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.08,
    }
    made, vision = SEEING[kind]
    vision = {"depth": 2, "num_heads": 2, "patch_size": 4, "initializer_range": 0.08} | vision
    ids["video_token_id"] = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    processor: Any = Qwen2VLImageProcessorPil(patch_size=4, min_pixels=64, max_pixels=4096)
    if kind == "internvl":  # positions that just count; tiles of 16 x 16, and larger images in several
        text = {"model_type": "qwen2"} | {k: v for k, v in text.items() if k not in ("rope_parameters", "head_dim")}
        ids = {"image_token_id": ids["image_token_id"], "image_seq_length": 4}
        processor = GotOcr2ImageProcessorPil(size={"height": 16, "width": 16}, crop_to_patches=True)
    torch.manual_seed(seed)
    config = made(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    if kind == "internvl":
        file = folder / "tokenizer_config.json"
        named = {f"{name}_image_token": MARKS[f"vision_{name}"] for name in ("start", "end")}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"extra_special_tokens": named}))
    return folder
