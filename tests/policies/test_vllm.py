"""vLLM against transformers: the same weights say the same, whatever happens to the engine meanwhile.

The tests marked ``vllm`` need an installation of their own: ``make test-vllm``.
"""

import asyncio
import copy
import importlib.metadata
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.cli.main import main
from agentrl.envs import registry
from agentrl.errors import UserError
from agentrl.policies.base import Policy, Request
from agentrl.policies.load import load_model, load_policy, locate
from agentrl.policies.transformers import TransformersPolicy
from agentrl.policies.vllm import VLLMPolicy, check_version
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.types import Task

vllm = pytest.mark.vllm
TALK = "<|system|>You are in a room.<|end|><|user|>{}<|end|><|assistant|>"
SAID = ["go to desk 1", "take apple 2", "nothing happens", "open drawer 3", "you see a bed 1", "look", "a", "What now?"]


# -- without vLLM ------------------------------------------------------------------------------------------------------


def test_an_unknown_engine_names_the_nearest():
    with pytest.raises(UserError, match="unknown engine 'vlm'; did you mean 'vllm'"):
        load_policy("small", engine="vlm")


def test_a_missing_vllm_is_said_in_a_line(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"pip install 'agentrl-toolkit\[vllm\]'"):
        load_policy("small", engine="vllm")


@pytest.mark.parametrize("version", ["0.31.2", "0.34.0", "1.0.0"])
def test_another_version_is_refused(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(UserError, match=f"{version} is not supported: versions 0.32 to 0.33 are"):
        check_version()


@pytest.mark.parametrize("version", ["0.32.0", "0.33.1rc2+cpu"])
def test_supported_versions_pass(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    check_version()


# -- with vLLM ---------------------------------------------------------------------------------------------------------


class Pair:
    """One model, and the policy of vLLM that is given its weights."""

    def __init__(self):
        self.model, self.tokenizer = load_model(locate("small"))
        self.vllm = VLLMPolicy(locate("small"), trainer=self.model, max_gap=1e-4, sleep=True)

    def transformers(self):
        return TransformersPolicy(copy.deepcopy(self.model), self.tokenizer)

    def change(self, seed):
        """New weights for both."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        self.vllm.update(self.model.state_dict(), self.vllm.version + 1)

    def prompt(self, said):
        return np.asarray(self.tokenizer(TALK.format(said), add_special_tokens=False)["input_ids"], np.int32)

    def requests(self, **more):
        options = {"max_tokens": 24, "seed": 0, "stop": ("</action>",)} | more
        return [Request(self.prompt(s), **options | {"seed": options["seed"] + i}) for i, s in enumerate(SAID)]

    def logprobs(self, model, request, completion):
        """What the model says about a reply, at the request's temperature."""
        ids = np.concatenate([request.prompt_ids, completion.ids]).astype(np.int64)
        start = len(request.prompt_ids)
        with torch.inference_mode():
            logits = model(torch.from_numpy(ids)[None]).logits[0, start - 1 : -1].float()
        wanted = torch.log_softmax(logits / (request.temperature or 1.0), -1)
        return wanted.gather(-1, torch.from_numpy(ids[start:, None]))[:, 0].numpy()


def ask(policy, requests):
    async def all_of_them():
        return await asyncio.gather(*(policy.generate(request) for request in requests))

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def pair():
    pair = Pair()
    yield pair
    pair.vllm.close()


@vllm
def test_it_is_a_policy(pair):
    assert isinstance(pair.vllm, Policy)
    assert pair.vllm.window == 1024


@vllm
def test_greedy_tokens_are_those_of_transformers(pair):
    requests = pair.requests(temperature=0.0)
    for mine, theirs in zip(ask(pair.vllm, requests), ask(pair.transformers(), requests), strict=True):
        assert mine.ids.tolist() == theirs.ids.tolist()
        assert mine.finish == theirs.finish
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-4)


@vllm
@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_logprobs_are_those_at_the_sampling_temperature(pair, temperature):
    requests = pair.requests(temperature=temperature, seed=10)
    for request, completion in zip(requests, ask(pair.vllm, requests), strict=True):
        wanted = pair.logprobs(pair.model, request, completion)
        np.testing.assert_allclose(completion.logprobs, wanted, atol=1e-4)
        assert completion.versions == [(0, pair.vllm.version)]


@vllm
def test_draws_follow_the_seed_alone(pair):
    once, again, alone = ask(pair.vllm, pair.requests(seed=3)), ask(pair.vllm, pair.requests(seed=3)), []
    for request in pair.requests(seed=3):
        alone += ask(pair.vllm, [request])
    assert [c.ids.tolist() for c in once] == [c.ids.tolist() for c in again] == [c.ids.tolist() for c in alone]
    same = [Request(pair.prompt("look"), 24, seed=i) for i in range(8)]
    assert len({tuple(c.ids.tolist()) for c in ask(pair.vllm, same)}) > 1


@vllm
def test_a_reply_stops_where_transformers_stops_it(pair):
    begun = pair.tokenizer("<action>look</act", add_special_tokens=False)["input_ids"]
    prompt = np.concatenate([pair.prompt("look"), np.asarray(begun, np.int32)])
    for stop in (("</action>",), ("a", "zzz"), (" 1",), ()):
        for length in (1, 5, 24):
            requests = pair.requests(temperature=0.0, stop=stop, max_tokens=length)
            requests.append(Request(prompt, length, seed=0, temperature=0.0, stop=stop, begun=len(begun)))
            for mine, theirs in zip(ask(pair.vllm, requests), ask(pair.transformers(), requests), strict=True):
                assert (mine.ids.tolist(), mine.finish) == (theirs.ids.tolist(), theirs.finish)


@vllm
def test_a_stop_string_may_begin_in_what_was_sampled_before(pair):
    request = next(iter(pair.requests(temperature=0.0, stop=(), max_tokens=8)))
    whole = ask(pair.vllm, [request])[0].ids
    text = pair.tokenizer.decode(whole[:3].tolist(), skip_special_tokens=False)
    begun = np.concatenate([request.prompt_ids, whole[:2]])
    cut = Request(begun, 6, seed=0, temperature=0.0, stop=(text,), begun=2)
    assert ask(pair.vllm, [cut])[0].ids.tolist() == whole[2:3].tolist()
    assert ask(pair.vllm, [cut])[0].finish == "stop"


@vllm
def test_what_cannot_fit_is_refused(pair):
    with pytest.raises(ValueError, match="does not fit a window of 1024"):
        ask(pair.vllm, [Request(np.ones(1024, np.int32), 4, seed=0)])
    with pytest.raises(ValueError, match="at least one token"):
        ask(pair.vllm, [Request(pair.prompt("look"), 0, seed=0)])
    nearly = ask(pair.vllm, [Request(np.full(1020, 50, np.int32), 100, seed=0, temperature=2.0)])[0]
    assert len(nearly.ids) <= 4


@vllm
def test_the_weights_of_a_resumed_run_keep_their_number(pair):
    before, pair.vllm.version = pair.vllm.version, 7
    assert ask(pair.vllm, pair.requests())[0].versions == [(0, 7)]
    pair.vllm.version = before


@vllm
def test_the_very_next_token_is_sampled_by_new_weights(pair):
    requests = pair.requests(temperature=0.0)
    before = ask(pair.vllm, requests)  # its keys and values are cached now
    for seed in (1, 2):
        pair.change(seed)
        after = ask(pair.vllm, requests)
        for mine, theirs in zip(after, ask(pair.transformers(), requests), strict=True):
            assert mine.ids[0] == theirs.ids[0]
            np.testing.assert_allclose(mine.logprobs[0], theirs.logprobs[0], atol=1e-4)
            assert mine.versions == [(0, pair.vllm.version)]
    assert any(abs(a.logprobs[0] - b.logprobs[0]) > 1e-2 for a, b in zip(before, after, strict=True))


@vllm
def test_a_reply_goes_on_by_weights_that_came_in_its_middle(pair):
    hot = [Request(pair.prompt(s), 900, seed=i, temperature=2.0) for i, s in enumerate(SAID[:4])]

    async def interrupted(seed):
        replies = asyncio.gather(*(pair.vllm.generate(request) for request in hot))
        await pair.vllm.generate(Request(pair.prompt("look"), 1, seed=0))  # by now the others have begun
        pair.change(seed)
        return await replies

    for attempt in range(5):  # a reply may have been over before the weights came
        old = copy.deepcopy(pair.model)
        replies = asyncio.run(interrupted(100 + attempt))
        if any(len(reply.versions) == 2 for reply in replies):
            break
    both = [(request, reply) for request, reply in zip(hot, replies, strict=True) if len(reply.versions) == 2]
    assert both
    for request, reply in both:
        by_old, by_new = (pair.logprobs(model, request, reply) for model in (old, pair.model))
        (_, before), (first, now) = reply.versions
        assert (before, now) == (pair.vllm.version - 1, pair.vllm.version)
        np.testing.assert_allclose(reply.logprobs[:first], by_old[:first], atol=1e-4)
        np.testing.assert_allclose(reply.logprobs[first:], by_new[first:], atol=1e-4)


@vllm
def test_an_engine_that_rests_answers_by_the_weights_that_wake_it(pair):
    """On a CPU there is no memory to give back; the engine stops and wakes in the same two steps."""
    request = pair.requests(temperature=0.0)[0]
    pair.vllm.rest()
    assert pair.vllm._call(pair.vllm._engine.is_sleeping())

    async def asked_too_early():
        reply = asyncio.ensure_future(pair.vllm.generate(request))
        done, _ = await asyncio.wait([reply], timeout=1)
        assert not done
        pair.change(50)
        return await reply

    reply = asyncio.run(asked_too_early())
    assert not pair.vllm._call(pair.vllm._engine.is_sleeping())
    assert reply.versions == [(0, pair.vllm.version)]
    np.testing.assert_allclose(reply.logprobs, pair.logprobs(pair.model, request, reply), atol=1e-4)


@vllm
def test_weights_that_do_not_arrive_are_noticed(pair):
    other = copy.deepcopy(pair.model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    take = pair.vllm._take

    async def forgets(version, state):
        pair.vllm._version = version

    pair.vllm._take = forgets
    try:
        with pytest.raises(UserError, match="does not hold the weights of version"):
            pair.vllm.update(other.state_dict(), pair.vllm.version + 1)
    finally:
        pair.vllm._take = take
        pair.vllm.update(pair.model.state_dict(), pair.vllm.version)


@vllm
def test_a_storm_of_aborts_leaves_nothing_behind(pair):
    async def storm():
        many = [
            asyncio.ensure_future(pair.vllm.generate(r)) for r in pair.requests(temperature=2.0, max_tokens=900) * 8
        ]
        await pair.vllm.generate(Request(pair.prompt("look"), 1, seed=0))
        for task in many[1:]:
            task.cancel()
        return await asyncio.gather(*many, return_exceptions=True)

    kept, *cancelled = asyncio.run(storm())
    assert len(kept.ids)
    assert all(isinstance(c, asyncio.CancelledError) or len(c.ids) for c in cancelled)
    assert sum(isinstance(c, asyncio.CancelledError) for c in cancelled) > 0
    ask(pair.vllm, pair.requests())
    assert pair.vllm._engine.get_num_unfinished_requests() == 0
    assert pair.vllm._busy == 0


@vllm
def test_an_engine_that_was_killed_comes_back_with_the_newest_weights(pair):
    requests = pair.requests(temperature=0.0)
    wanted = [c.ids.tolist() for c in ask(pair.vllm, requests)]
    lost = pair.vllm._engine

    async def killed():
        replies = [asyncio.ensure_future(pair.vllm.generate(r)) for r in pair.requests(temperature=2.0, max_tokens=600)]
        await pair.vllm.generate(Request(pair.prompt("look"), 1, seed=0))
        for process in lost.engine_core.resources.engine_manager.processes:
            os.kill(process.pid, signal.SIGKILL)
        return await asyncio.gather(*replies)

    for request, reply in zip(pair.requests(temperature=2.0, max_tokens=600), asyncio.run(killed()), strict=True):
        np.testing.assert_allclose(reply.logprobs, pair.logprobs(pair.model, request, reply), atol=1e-4)
    replies = ask(pair.vllm, requests)
    assert pair.vllm._engine is not lost
    assert [c.ids.tolist() for c in replies] == wanted
    assert {version for c in replies for _, version in c.versions} == {pair.vllm.version}


@vllm
def test_200_agents_at_once(pair):
    name = "agentrl/KeyDoor-v0"
    ids = registry.split(registry.resolve(name).spec, "train", {})
    jobs = [
        Job(f"{i:03d}", Task(name, ids[i % len(ids)]), derive(0, i), group=str(i), key=(i,), temperature=1.0)
        for i in range(200)
    ]
    rollout = Rollout(pair.vllm, AgentConfig(), Limits(turns=6, turn_tokens=24), concurrency=200, deterministic=False)
    try:
        played = asyncio.run(rollout.run(jobs))
    finally:
        rollout.close()
    assert len(played) == 200
    assert all(t.trusted for t in played), {t.error for t in played}
    assert not rollout.failures
    for t in played[::20]:
        for turn in t.turns:
            completion = type("Reply", (), {"ids": turn.completion_ids})
            request = Request(turn.prompt_ids, 1, seed=0)
            np.testing.assert_allclose(turn.logprobs, pair.logprobs(pair.model, request, completion), atol=1e-4)


@vllm
@pytest.mark.slow
def test_the_same_commands_with_another_engine(tmp_path: Path, capsys):
    run, demos = tmp_path / "run", tmp_path / "demos"
    changes = [f"--set={c}" for c in ("iterations=2", "evaluate=false", "rollout.tasks=4", "rollout.staleness=0")]
    main_ends(["train", "household-tiny", "--policy.engine", "vllm", *changes, "-o", str(run)])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert all(line["update"]["logprob_gap_max"] < 1e-3 for line in lines)
    for number, group in enumerate(g for f in sorted((run / "trajectories").glob("*.parquet")) for g in store.read(f)):
        assert all(version == number // 4 for t in group for turn in t.turns for _, version in turn.versions)
    more = ["--policy", str(run), "--policy.engine", "vllm"]
    main_ends(["collect", "agentrl/KeyDoor-v0", *more, "-n", "8", "-o", str(demos)])
    assert sum(len(group) for group in store.read(demos)) == 8
    assert "8 episodes" in capsys.readouterr().out
    main_ends(["doctor", "--json", *more])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert all(checks[name]["ok"] for name in ("sampler and trainer agree", "learning rate 0", "weights arrive"))
    assert "engine" in checks["weights arrive"]["line"]


def main_ends(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
