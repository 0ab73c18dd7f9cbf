"""Episodes with images: in worker processes, of tool environments, cut by a window, and with what is no image."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl
from colours import COLOURS, png

import agentrl as ar
from agentrl.agents.chat import AgentConfig
from agentrl.policies.load import load_model
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.types import StopReason, Task, Trajectory, images_of

LOOKS = f"{Path(__file__).parent / 'looks.py'}:Looks-v0"
SQUARE, OTHER = png(COLOURS["red"]), png(COLOURS["blue"])


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> TransformersPolicy:
    return TransformersPolicy(*load_model(vl.small(tmp_path_factory.mktemp("policy"))), slots=2)


def play(policy: TransformersPolicy, env: str, workers: int = 0, context: Any = "full", **kwargs: Any) -> Trajectory:
    async def one() -> Trajectory:
        rollout = Rollout(
            policy, AgentConfig(format="text", context=context), Limits(turns=3, turn_tokens=4), 2, workers=workers
        )
        try:
            return (await rollout.run([Job("a", Task(env, 1, tuple(kwargs.items())), 1, "g")]))[0]
        finally:
            rollout.close()

    with ThreadPoolExecutor(1) as thread:  # other tests' browsers may leave a loop running in this one
        return thread.submit(asyncio.run, one()).result()


def test_a_worker_process_shows_the_same(policy: TransformersPolicy) -> None:
    here, there = play(policy, LOOKS), play(policy, LOOKS, workers=1)
    assert len(here.turns) == 3
    assert len(here.turns[2].images) == 3
    for a, b in zip(here.turns, there.turns, strict=True):
        assert (a.observation, a.images, a.prompt_ids.tolist()) == (b.observation, b.images, b.prompt_ids.tolist())


def test_a_window_drops_the_images_of_turns_that_are_gone(policy: TransformersPolicy) -> None:
    found = play(policy, LOOKS, context=1)
    shown = [images_of(turn.observation)[0] for turn in found.turns]
    assert found.turns[1].images == tuple(shown[:2])
    assert found.turns[2].images == (shown[0], shown[2])
    assert [s.images for s in found.segments()] == [found.turns[s.turn.max()].images for s in found.segments()]


def test_equal_ids_after_another_image_are_no_continuation() -> None:
    ids: dict[str, Any] = {"completion_ids": [5], "logprobs": [0], "entropies": [0], "versions": [(0, 0)]}
    first = ar.Turn("a", prompt_ids=[1, 2], images=(SQUARE,), **ids)
    same = ar.Turn("b", prompt_ids=[1, 2, 5, 3], images=(SQUARE, OTHER), **ids)
    unlike = ar.Turn("b", prompt_ids=[1, 2, 5, 3], images=(OTHER, OTHER), **ids)
    assert len(Trajectory("t", Task("E-v0", 0), 0, [first, same]).segments()) == 1
    assert len(Trajectory("t", Task("E-v0", 0), 0, [first, unlike]).segments()) == 2


def test_a_tool_answers_with_an_image(policy: TransformersPolicy) -> None:
    @ar.register("Camera-v0", splits={"train": range(4)}, max_turns=2)
    class Camera(ar.ToolEnv):
        """Look around."""

        def start(self, task: int, rng: Any) -> list[Any]:
            return [{"role": "user", "content": [{"type": "image", "image": SQUARE}]}]

        async def _answer(self, text: str) -> Any:
            return (
                [{"role": "tool", "name": "look", "content": [{"type": "image", "image": OTHER}]}],
                0.0,
                False,
                False,
                {},
            )

    found = play(policy, "Camera-v0")
    assert [turn.images for turn in found.turns[:2]] == [(SQUARE,), (SQUARE, OTHER)]
    assert found.trusted


@pytest.mark.parametrize(
    "image", ["data:image/png;base64,AAAA", "http://127.0.0.1/x.png", "/etc/passwd", "data:text/plain,x"]
)
def test_what_is_no_image_is_the_fault_of_the_environment(policy: TransformersPolicy, image: str) -> None:
    @ar.register("Bad-v0", splits={"train": range(4)}, max_turns=2)
    class Bad(ar.Env):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return [{"role": "user", "content": [{"type": "image", "image": image}]}], {}

    found = play(policy, "Bad-v0")
    assert found.stop is StopReason.ENV_INVALID
    assert "image" in str(found.error)


def test_an_image_beyond_measure_is_not_unpacked(policy: TransformersPolicy) -> None:
    bomb = png(COLOURS["red"], 4200)  # 17 million pixels of 50 KB
    assert len(bomb) < 1 << 17
    with pytest.raises(ValueError, match="4200 x 4200 pixels"):
        policy.tokenizer.vision.picture(bomb)


@pytest.mark.web
def test_a_browser_shows_its_pages(chromium: Any, tmp_path: Path) -> None:
    seeing = TransformersPolicy(*load_model(vl.small(tmp_path / "policy", window=8192)), slots=1)
    found = play(seeing, "agentrl/MiniWoB-click-test-2-v0", screenshot=True)
    first = found.turns[0]
    [image] = first.images
    assert images_of(first.observation) == [image]
    (height, width) = seeing.tokenizer.vision.look(image)["image_grid_thw"][0, 1:].tolist()
    assert (first.prompt_ids == seeing.tokenizer.vision.token_id).sum() == height * width // 4 > 16
    assert np.isfinite(first.logprobs).all()
    assert found.trusted
