"""``openai:MODEL`` against a stand-in that answers, stumbles and refuses as such endpoints do."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentrl.cli.main import main
from agentrl.errors import UserError
from agentrl.policies.load import load_policy, locate
from agentrl.policies.openai import TRIES, OpenAIPolicy

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


class Endpoint(ThreadingHTTPServer):
    """Answers with what is planned, (status, headers, body) each; the last for ever. ``asked``: bodies that came in."""

    daemon_threads = True

    def __init__(self, *plan):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.asked, self.keys, self.lock = list(plan), [], [], threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_):
        """A client that hangs up is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers.get("authorization"))
            plan = self.server.plan
            status, headers, answer = plan.pop(0) if len(plan) > 1 else plan[0]
        if status == 0:  # hang up in the middle
            self.close_connection = True
            return
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def says(text="", calls=(), reason="stop"):
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": n, "arguments": a}} for i, (n, a) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text or None} | ({"tool_calls": made} if made else {})
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    return 200, {}, {"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}


def fails(status, message="no", **headers):
    return status, headers, {"error": {"message": message, "type": "x", "code": None}}


@pytest.fixture
def endpoint():
    made = []

    def make(*plan):
        made.append(Endpoint(*plan))
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


def policy_of(server, **more):
    return OpenAIPolicy("m", base_url=server.url, key="k", **{"first_wait": 0.001} | more)


def chat(policy, times=1, **more):
    options = {"max_tokens": 7, "temperature": 0.5, "stop": ("\n",), "seed": 3} | more

    async def several():
        return await asyncio.gather(*(policy.chat(HI, [TOOL], **options) for _ in range(times)))

    return asyncio.run(several())


def test_a_request_says_what_was_asked_for(endpoint):
    server = endpoint(says("Hello", reason="length"))
    (said,) = chat(policy_of(server))
    assert (said.message["content"], said.calls, said.cut) == ("Hello", [], True)
    assert server.keys == ["Bearer k"]
    assert server.asked == [
        {"model": "m", "messages": HI, "max_tokens": 7, "temperature": 0.5, "seed": 3, "tools": [TOOL], "stop": ["\n"]}
    ]


def test_what_passes_is_tried_again(endpoint):
    server = endpoint(fails(429, **{"retry-after": "0"}), fails(503), (0, {}, ""), says("Hello"))
    policy = policy_of(server)
    assert chat(policy)[0].message["content"] == "Hello"
    assert (policy.account.requests, policy.account.retries, len(server.asked)) == (4, 3, 4)


def test_it_gives_up_in_the_end(endpoint):
    server = endpoint(fails(500, "on fire"))
    with pytest.raises(RuntimeError, match=f"was asked {TRIES} times: 500 on fire"):
        chat(policy_of(server))
    assert len(server.asked) == TRIES


@pytest.mark.parametrize(("status", "kind"), [(401, UserError), (404, UserError), (400, RuntimeError)])
def test_what_does_not_pass_is_asked_once(endpoint, status, kind):
    server = endpoint(fails(status, "no such thing"))
    with pytest.raises(kind, match="no such thing"):
        chat(policy_of(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", ["no JSON", [], {}, {"choices": []}, {"choices": [{"message": 3}]}])
def test_an_answer_that_is_none_is_an_error_of_the_policy(endpoint, body):
    with pytest.raises(RuntimeError, match="answered no"):
        chat(policy_of(endpoint((200, {}, body))))


def test_costs_are_counted(endpoint):
    policy = policy_of(endpoint(says("Hello")), prices=(2.0, 10.0))
    assert chat(policy, 3)[0].cost == pytest.approx(0.003)
    assert policy.account.dollars == pytest.approx(0.009)
    assert (policy.account.prompt_tokens, policy.account.completion_tokens) == (3000, 300)
    assert "$0.0090" in str(policy.account)


def test_an_answer_is_bought_once(endpoint, tmp_path):
    server = endpoint(says("one"), says("two"), says("three"))
    first = policy_of(server, cache=tmp_path / "answers", prices=(1.0, 1.0))
    assert chat(first)[0].message["content"] == "one"
    again = policy_of(server, cache=tmp_path / "answers", prices=(1.0, 1.0))
    assert chat(again)[0].message["content"] == "one"
    assert chat(again, seed=4)[0].message["content"] == "two"
    assert len(server.asked) == 2
    assert (again.account.cached, again.account.requests) == (1, 1)
    assert again.account.dollars == pytest.approx(0.0011)


def test_requests_keep_to_the_rate(endpoint, monkeypatch):
    policy = policy_of(endpoint(says("Hello")), rpm=60)
    waits = []

    async def noted(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    monkeypatch.setattr("agentrl.policies.openai.time.monotonic", lambda: 100.0)

    async def three():
        for _ in range(3):
            await policy._turn()

    asyncio.run(three())
    assert waits == [0.0, 1.0, 2.0]


def test_options_are_checked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    made = OpenAIPolicy.of("a/model:free?rpm=30&in=0.1&out=0.4&cache=x")
    assert (made.model, made._between, made._prices) == ("a/model:free", 2.0, (0.1, 0.4))
    for name, line in (("m?rpn=3", "did you mean 'rpm'"), ("m?rpm=0", "a number above 0"), ("", "openai:MODEL")):
        with pytest.raises(UserError, match=line):
            OpenAIPolicy.of(name)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        load_policy("openai:m")


def test_it_is_not_trained():
    with pytest.raises(UserError, match="neither tokens nor weights"):
        locate("openai:m")


def test_eval_and_collect_play_with_it(endpoint, monkeypatch, tmp_path, capsys):
    server = endpoint(says("I think.", [("calculator", '{"expression": "1+1"}')]), says("2"))
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(SystemExit) as ended:
        main(["eval", "agentrl/Calc-v0", "--policy", "openai:m?in=1&out=1", "--first", "3", "--json"])
    assert not ended.value.code
    printed = capsys.readouterr()
    assert json.loads(printed.out)["failed_episodes"] == 0
    assert f"{len(server.asked)} requests" in printed.err
    first, second, *_ = server.asked
    assert first["tools"][0]["function"]["name"] == second["tools"][0]["function"]["name"]
    answered = [m for body in server.asked for m in body["messages"] if m["role"] == "tool"]
    assert answered
    assert all(m["tool_call_id"] == "c0" and m["content"] for m in answered)
    with pytest.raises(SystemExit) as ended:
        main(["train", "household-tiny", "--policy", "openai:m", "-o", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "not trained" in capsys.readouterr().err


@pytest.mark.parametrize("sees", [False, True])
def test_images_are_sent_where_the_model_takes_them(endpoint, monkeypatch, tmp_path, sees):
    served = endpoint(says("<action>red</action>"))
    monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    env = f"{Path(__file__).parents[2] / 'examples' / 'colours.py'}:Colours-v0"
    asked = f"openai:m?images={int(sees)}"
    with pytest.raises(SystemExit) as ended:
        main(["collect", env, "--policy", asked, "-n", "1", "-o", str(tmp_path / "out")])
    assert not ended.value.code
    content = served.asked[0]["messages"][-1]["content"]
    if sees:
        assert [part["type"] for part in content] == ["image_url", "text"]
        assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
    else:
        assert content == "[image]\ncolour?"
