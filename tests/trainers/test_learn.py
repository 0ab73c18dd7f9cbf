"""Updates from the sessions of a program that knows only the openai client."""

import asyncio
from pathlib import Path

import openai
import pytest
import torch

from agentrl import store
from agentrl.cli.main import main
from agentrl.errors import UserError
from agentrl.policies.load import load_model, load_policy
from agentrl.serve.server import Server
from agentrl.trainers.learn import DEFAULTS, learn
from agentrl.trainers.recipe import load

WORD = "go"


async def sessions(policy, out, count, seed):
    """Programs in this process: they ask the server's own app, and reward short talk of ``WORD``."""
    import httpx

    server = Server(policy, out, seed=seed, temperature=1.0)
    earned = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app()), base_url="http://here") as web:
        for number in range(count):
            api = openai.AsyncOpenAI(base_url=f"http://here/sessions/{number}/v1", api_key="x", http_client=web)
            messages = [{"role": "user", "content": "You are in a room. What now?"}]
            said = []
            for _ in range(2):
                reply = await api.chat.completions.create(model="m", messages=messages, max_tokens=8)
                said.append(reply.choices[0].message.content)
                messages += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": "Nothing."}]
            reward = sum(WORD in text for text in said) / 2
            task = f"task {number % 4}"
            await web.post(f"/sessions/{number}/v1/reward", json={"reward": reward, "task": task})
            earned.append(reward)
    return sum(earned) / count


@pytest.fixture(scope="module")
def talked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sessions")
    asyncio.run(sessions(load_policy("small").policy, folder, 24, 0))
    return folder


@pytest.mark.slow
def test_a_served_program_teaches_the_policy(talked, tmp_path, capsys):
    assert len(store.read(talked)) == 4
    with pytest.raises(SystemExit) as ended:
        main(["learn", str(talked), "--policy", "small", "-o", str(tmp_path / "next"), "--set", "optim.lr=1e-3"])
    assert not ended.value.code
    assert "24 episodes of 4 tasks" in capsys.readouterr().out
    old, new = load_policy("small"), load_policy(str(tmp_path / "next"))
    assert new.agent == old.agent
    taught = asyncio.run(sessions(new.policy, tmp_path / "a", 32, 1))
    before = asyncio.run(sessions(old.policy, tmp_path / "b", 32, 1))
    assert taught > before


def test_it_is_exact(talked, tmp_path):
    found = learn([talked], "small", tmp_path / "next", load("default", DEFAULTS))
    assert found["logprob_gap_max"] < 1e-4
    again = learn([talked], "small", tmp_path / "again", load("default", DEFAULTS))
    assert found == again
    one, two = (load_model(tmp_path / name)[0].state_dict() for name in ("next", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_what_another_policy_said_is_refused(talked, tmp_path):
    learn([talked], "small", tmp_path / "next", load("default", [*DEFAULTS, "optim.lr=1e-1"]))
    with pytest.raises(UserError, match="sampler and trainer disagree"):
        learn([talked], str(tmp_path / "next"), tmp_path / "third", load("default", DEFAULTS))


def test_one_episode_a_task_teaches_nothing(tmp_path):
    asyncio.run(sessions(load_policy("small").policy, tmp_path / "few", 3, 0))
    with pytest.raises(UserError, match="none of 3 tasks has two episodes"):
        learn([tmp_path / "few"], "small", tmp_path / "next", load("default", DEFAULTS))
