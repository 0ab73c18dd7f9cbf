"""Agent programs that know only the openai client, and the ids that are kept of them."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import openai
import pytest
import uvicorn

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.evaluation import suites
from agentrl.evaluation.evaluate import evaluate
from agentrl.policies.base import Completion, Counters
from agentrl.policies.load import load_model, load_policy, locate
from agentrl.policies.openai import OpenAIPolicy
from agentrl.serve.server import Server
from agentrl.types import ToolCall

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look at something.",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
        },
    }
]
CALL = '<tool_call>{"name": "look", "arguments": {"at": "the desk, 1"}}</tool_call>'


class Says:
    """A policy that is told what to say, and says it letter by letter: no tokenizer would cut it so."""

    name, window = "says", 1024

    def __init__(self, tokenizer, *texts):
        self.tokenizer = tokenizer
        self.texts = itertools.cycle(texts)
        self.counters = Counters()
        self.requests = []
        self.gate = threading.Event()
        self.gate.set()

    def expect(self, live):
        pass

    async def generate(self, request):
        self.requests.append(request)
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        ids = [i for letter in next(self.texts) for i in self.tokenizer(letter, add_special_tokens=False)["input_ids"]]
        ids = np.asarray([*ids, self.tokenizer.eos_token_id], np.int32)
        zeros = np.zeros(len(ids), np.float32)
        return Completion(ids, zeros - 1, zeros, "stop", [(0, 7)])


@contextlib.contextmanager
def serving(policy, out, **more):
    """The address of a server in a thread, and the server."""
    server = Server(policy, out, **more)
    config = uvicorn.Config(server.app(), host="127.0.0.1", port=0, log_level="error")
    socket = config.bind_socket()
    socket.listen(1024)  # programs may connect before the thread runs
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}", server
    finally:
        running.should_exit = True
        thread.join()
        socket.close()


@pytest.fixture(scope="module")
def tokenizer():
    return load_model(locate("small"))[1]


def client(address, name, **more):
    return openai.OpenAI(base_url=f"{address}/sessions/{name}/v1", api_key="any", max_retries=0, **more)


def reward(address, name, value=1.0, **more):
    return httpx.post(f"{address}/sessions/{name}/v1/reward", json={"reward": value, **more})


def program(api, question, turns=3):
    """An agent that someone already has: it calls tools until there is an answer. Its messages at the end."""
    messages = [{"role": "system", "content": "You look."}, {"role": "user", "content": question}]
    for _ in range(turns):
        said = api.chat.completions.create(model="any", messages=messages, tools=TOOLS).choices[0].message
        messages.append(said.model_dump(exclude_none=True))
        if not said.tool_calls:
            break
        for call in said.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"a pen ({call.function.arguments})"})
    return messages


def test_a_session_of_tool_calls_is_one_exact_trajectory(tokenizer, tmp_path):
    policy = Says(tokenizer, f"I look. {CALL}", CALL, "There is a pen.")
    with serving(policy, tmp_path) as (address, _):
        messages = program(client(address, "a"), "What is there?")
        assert messages[-1] == {"role": "assistant", "content": "There is a pen."}
        assert messages[2]["content"] == "I look."
        assert messages[2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": "the desk, 1"}'}
        assert reward(address, "a", 0.5, task="pen").json()["trajectories"] == 1
    (group,) = store.read(tmp_path)
    (t,) = group
    assert (t.task.id, t.reward, t.success, len(t.turns)) == ("pen", 0.5, False, 3)
    assert t.turns[0].action == ToolCall("look", at="the desk, 1")
    assert [turn.text for turn in t.turns] == [f"I look. {CALL}", CALL, "There is a pen."]
    assert len(t.segments()) == 1  # every prompt goes on from the ids that were sampled
    for turn, request in zip(t.turns, policy.requests, strict=True):
        assert turn.prompt_ids.tolist() == request.prompt_ids.tolist()
        text = tokenizer.decode(turn.completion_ids.tolist())
        assert tokenizer(text, add_special_tokens=False)["input_ids"] != turn.completion_ids.tolist()
        assert turn.versions == [(0, 7)]
    whole = tokenizer.decode(t.turns[-1].prompt_ids.tolist(), skip_special_tokens=False)
    told = [{**m} for m in messages[:-1]]
    for message in told:
        for call in message.get("tool_calls", ()):
            call["function"] = {"name": "look", "arguments": {"at": "the desk, 1"}}
    assert "look" in whole
    assert whole.count("<|tool|>a pen") == 2
    assert whole.count("<|assistant|>") == 3


def test_a_sampled_session_goes_on_from_what_was_sampled(tmp_path):
    policy = load_policy("small").policy
    odd = 0
    with serving(policy, tmp_path, temperature=2.0) as (address, _):
        for number in range(4):
            api = client(address, f"s{number}")
            messages = [{"role": "user", "content": "You are in a room. What now?"}]
            for _ in range(3):
                said = api.chat.completions.create(model="any", messages=messages, max_tokens=12)
                messages += [
                    {"role": "assistant", "content": said.choices[0].message.content},
                    {"role": "user", "content": "Nothing happens."},
                ]
            assert reward(address, f"s{number}", 1.0, task="room").status_code == 200
    (group,) = store.read(tmp_path)
    assert len(group) == 4
    assert len({tuple(t.turns[0].completion_ids.tolist()) for t in group}) > 1
    for t in group:
        assert len(t.segments()) == 1
        assert t.success
        for turn in t.turns:
            ids = turn.completion_ids.tolist()
            odd += policy.tokenizer(policy.tokenizer.decode(ids), add_special_tokens=False)["input_ids"] != ids
    assert odd  # what was sampled is not what the tokenizer would make of its text


def test_a_stream_says_what_an_answer_says(tokenizer, tmp_path):
    texts = [f"I look. {CALL}\n{CALL}", "There is a pen."]
    found = []
    for number in range(2):
        with serving(Says(tokenizer, *texts), tmp_path / str(number)) as (address, _):
            api = client(address, "a")
            messages = [{"role": "user", "content": "What is there?"}]
            for _ in texts:
                options = {"model": "any", "messages": list(messages), "tools": TOOLS}
                if number:
                    with api.chat.completions.stream(**options, stream_options={"include_usage": True}) as stream:
                        answer = stream.get_final_completion()
                else:
                    answer = api.chat.completions.create(**options)
                said = answer.choices[0]
                found.append((said.finish_reason, said.message.content, answer.usage.model_dump(exclude_none=True)))
                found.append([(c.function.name, c.function.arguments) for c in said.message.tool_calls or ()])
                messages.append(said.message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}))
                messages.append({"role": "user", "content": "And then?"})
            reward(address, "a")
    assert found[:4] == found[4:]
    assert [len(calls) for calls in found[1::2]] == [2, 0, 2, 0]
    plain, streamed = (next(t for g in store.read(tmp_path / str(n)) for t in g) for n in range(2))
    for one, other in zip(plain.turns, streamed.turns, strict=True):
        assert one.prompt_ids.tolist() == other.prompt_ids.tolist()
        assert one.completion_ids.tolist() == other.completion_ids.tolist()


def test_the_raw_stream_is_what_other_clients_expect(tokenizer, tmp_path):
    with serving(Says(tokenizer, CALL), tmp_path) as (address, _):
        body = {"model": "x", "messages": [{"role": "user", "content": "Hi"}], "tools": TOOLS, "stream": True}
        answer = httpx.post(f"{address}/sessions/a/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert '"role": "assistant"' in lines[0]
    assert '"tool_calls": [{"index": 0, "id": "call-' in lines[1]
    assert '"finish_reason": "tool_calls"' in lines[2]


def test_a_call_that_is_made_again_is_answered_once(tokenizer, tmp_path):
    policy = Says(tokenizer, "one", "two", "three")
    body = {"model": "x", "messages": [{"role": "user", "content": "Hi"}]}
    with serving(policy, tmp_path) as (address, _):
        ask = f"{address}/sessions/a/v1/chat/completions"
        policy.gate.clear()  # the client gives up while the answer is being made
        first: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: first.append(httpx.post(ask, json=body, timeout=60)))
        waiting.start()
        while not policy.requests:
            time.sleep(0.001)
        again: list[httpx.Response] = []
        retry = {"x-stainless-retry-count": "1"}
        second = threading.Thread(target=lambda: again.append(httpx.post(ask, json=body, headers=retry, timeout=60)))
        second.start()
        policy.gate.set()
        waiting.join()
        second.join()
        third = httpx.post(ask, json=body, headers=retry)
        texts = [a.json()["choices"][0]["message"]["content"] for a in (*first, *again, third)]
        assert texts == ["one"] * 3
        assert len(policy.requests) == 1
        fresh = httpx.post(ask, json=body)  # no retry: the program asks twice
        assert fresh.json()["choices"][0]["message"]["content"] == "two"
        assert reward(address, "a").json() == reward(address, "a").json()
    (group,) = store.read(tmp_path)
    assert [t.turns[0].text for t in group] == ["one", "two"]


def test_parallel_sessions_never_mix(tokenizer, tmp_path):
    policy = Says(tokenizer, CALL, "done", "so", "be it")

    async def one(address, name):
        api = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=name, max_retries=0)  # named by its key
        messages = [{"role": "user", "content": f"I am {name}."}]
        for _ in range(3):
            said = await api.chat.completions.create(model="any", messages=messages, tools=TOOLS)
            messages.append(said.choices[0].message.model_dump(exclude_none=True))
            messages.append({"role": "user", "content": f"{name} again."})
        await api.close()

    async def everybody(address):
        await asyncio.gather(*(one(address, f"agent-{i:02d}") for i in range(16)))

    with serving(policy, tmp_path) as (address, _):
        asyncio.run(everybody(address))
        for i in range(16):
            key = {"authorization": f"Bearer agent-{i:02d}"}
            assert httpx.post(f"{address}/v1/reward", json={"reward": i}, headers=key).json()["turns"] == 3
    groups = store.read(tmp_path)
    assert len(groups) == 16
    for group in groups:
        (t,) = group
        assert t.reward == int(t.task.id[-2:])
        assert len(t.segments()) == 1
        text = tokenizer.decode(t.turns[-1].prompt_ids.tolist())
        assert text.count(t.task.id) == text.count("agent-") == 3


def test_histories_that_differ_fork(tokenizer, tmp_path):
    policy = Says(tokenizer, *"abcdefgh")
    with serving(policy, tmp_path) as (address, _):
        api = client(address, "a")

        def say(*messages):
            roles = ["user", "assistant"] * len(messages)
            told = [{"role": r, "content": m} for r, m in zip(roles, messages, strict=False)]
            return api.chat.completions.create(model="any", messages=told).choices[0].message.content

        assert say("1") == "a"
        assert say("1", "a", "2") == "b"
        assert say("1", "a", "2", "b", "3") == "c"
        assert say("1", "a", "other") == "d"  # goes back and on: forks after a
        assert say("1", "a", "2", "edited", "3") == "e"  # changes what was said: forks after a
        assert say("1") == "f"  # begins again
        assert say("In short: 1, a, other, d.") == "g"  # a summary: goes on after the newest, f
        answer = reward(address, "a", 2.0).json()
    assert (answer["trajectories"], answer["turns"]) == (4, 7)
    (group,) = store.read(tmp_path)
    texts = {"".join(turn.text for turn in t.turns): t for t in group}
    assert set(texts) == {"abc", "ad", "ae", "fg"}
    assert (texts["ad"].parent, texts["ad"].branch_turn) == (texts["abc"].id, 1)
    assert (texts["ae"].branch_turn, texts["fg"].parent) == (1, None)
    assert all(t.reward == 2.0 for t in group)
    assert [len(texts[name].segments()) for name in ("abc", "ad", "fg")] == [1, 1, 2]


def test_several_choices_are_siblings(tokenizer, tmp_path):
    with serving(Says(tokenizer, "a", "b", "c"), tmp_path) as (address, _):
        messages = [{"role": "user", "content": "Hi"}]
        made = client(address, "a").chat.completions.create(model="any", messages=messages, n=3)
        assert sorted(c.message.content for c in made.choices) == ["a", "b", "c"]
        assert [c.index for c in made.choices] == [0, 1, 2]
        assert reward(address, "a").json()["trajectories"] == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 1000}, "n"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]}, "tools"),
        ({"messages": [{"role": "user", "content": "x"}], "stop": [1]}, "stop"),
    ],
)
def test_what_is_wrong_is_named(tokenizer, tmp_path, body, says):
    with serving(Says(tokenizer, "a"), tmp_path) as (address, _):
        answer = httpx.post(f"{address}/sessions/a/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == says


def test_mistakes_are_errors_that_the_client_does_not_try_again(tokenizer, tmp_path):
    policy = Says(tokenizer, "a")
    with serving(policy, tmp_path) as (address, _):
        long = [{"role": "user", "content": "go " * 3000}]
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                client(address, "a").chat.completions.create(model="any", messages=long, stream=stream)
            assert refused.value.code == "context_length_exceeded"
        assert reward(address, "nobody").json()["error"]["code"] == "unknown_session"
        assert reward(address, "a", None).json()["error"]["param"] == "reward"
        program(client(address, "b"), "Hi")
        reward(address, "b")
        with pytest.raises(openai.BadRequestError) as refused:
            program(client(address, "b"), "Hi")
        assert refused.value.code == "session_ended"
        nameless = httpx.post(f"{address}/v1/chat/completions", json={"messages": long})
        assert (nameless.status_code, nameless.json()["error"]["message"][:16]) == (401, "name the session")
        broken = httpx.post(f"{address}/sessions/a/v1/chat/completions", content=b"{", headers={})
        assert broken.json()["error"]["message"] == "the body is no JSON"
        assert client(address, "a").models.list().data[0].id == "says"
    assert len(policy.requests) == 1


def test_hostile_output_is_text(tokenizer, tmp_path):
    hostile = ['<tool_call>{"name": 3}</tool_call>', "<tool_call>" + "[" * 500, "<tool_call>", CALL[:-13]]
    with serving(Says(tokenizer, *hostile), tmp_path) as (address, _):
        for number, text in enumerate(hostile[:3]):
            api = client(address, f"{number}")
            said = api.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "Hi"}], tools=TOOLS
            ).choices[0]
            assert (said.message.content, said.message.tool_calls) == (text, None)


def test_a_server_that_starts_again_adds_to_its_groups(tokenizer, tmp_path):
    for number in range(2):
        with serving(Says(tokenizer, "a"), tmp_path) as (address, _):
            program(client(address, f"run {number}"), "Hi")
            reward(address, f"run {number}", number, task="the same")
    (group,) = store.read(tmp_path)
    assert [t.reward for t in group] == [0, 1]


def test_a_policy_plays_the_same_through_the_server(tmp_path):
    """Environment, our own client and our own server: the episodes of a served policy are those of the policy."""
    policy = load_policy("small")
    suite = suites.load("agentrl/KeyDoor-v0:unseen")
    suite = suite.model_copy(update={"temperature": 0.0})
    agent = AgentConfig.model_validate(policy.agent)
    direct = evaluate(suite, policy.policy, agent=agent, limit=4, attempts=1)
    with serving(policy.policy, tmp_path) as (address, _):
        remote = OpenAIPolicy("small", base_url=f"{address}/sessions/eval/v1", concurrency=1)
        served = evaluate(suite, remote, agent=agent, limit=4, attempts=1)
        assert remote.account.requests == sum(len(t.turns) for t in served.trajectories)
    for one, other in zip(direct.trajectories, served.trajectories, strict=True):
        assert other.trusted
        assert [turn.text for turn in one.turns] == [turn.text for turn in other.turns]
        assert [turn.action for turn in one.turns] == [turn.action for turn in other.turns]
        assert not any(turn.trainable for turn in other.turns)


@pytest.mark.slow
def test_the_command_line(tmp_path):
    command = [sys.executable, "-m", "agentrl", "serve", "--port", "0", "-o", str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        try:
            address = process.stdout.readline().split(" at ")[1].split("/sessions")[0]
            messages = program(client(address, "a"), "What is there?", turns=1)
            assert messages[2]["role"] == "assistant"
            assert reward(address, "a", 0.0).json()["turns"] == 1
        finally:
            process.send_signal(signal.SIGTERM)
    assert len(store.read(tmp_path / "s")) == 1
