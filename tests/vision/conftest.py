import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # vl.py
sys.path.append(str(Path(__file__).parents[1] / "trainers"))  # tiny.py
sys.path.append(str(Path(__file__).parents[1] / "policies"))  # vllm_serving.py
sys.path.append(str(Path(__file__).parents[2] / "examples"))  # colours.py


@pytest.fixture(scope="session", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"])
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small policy that takes images."""
    import vl

    return vl.small(tmp_path_factory.mktemp("vl") / request.param, request.param)
