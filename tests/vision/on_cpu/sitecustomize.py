"""For PYTHONPATH where torchvision's build is for CUDA and torch's for CPUs.

Its library cannot be loaded then, and the operators that it would have brought are named here. The rest is Python.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

if (found := find_spec("torchvision")) is not None:
    try:
        torch.ops.load_library(str(Path(found.origin or "").with_name("_C.so")))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
