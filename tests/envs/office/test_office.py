"""Office-v0: what is rewarded, what is not, who answers, and what playing without thought earns."""

import http.server
import json
import pickle
import random
import socket
import threading
from collections import Counter
from typing import Any

import pytest

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.office.database import Database, changes, settle
from agentrl.envs.office.draft import ME
from agentrl.envs.office.env import NOVEL_JOBS, _begun, splits
from agentrl.envs.office.jobs import JOBS
from agentrl.envs.office.user import SHRUG, ModelUser, scripted
from agentrl.envs.random_actions import random_action
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.types import ToolCall

NAME = "agentrl/Office-v0"
LOOKING = {"find_contact", "search_mail", "read_mail", "list_events", "list_files", "read_file", "search_shop",
           "list_orders", "ask"}  # fmt: skip


def played(task: str, calls: list[ToolCall]) -> float:
    """The reward of these calls and then done, with the right answer."""
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": task})
    for call in calls:
        env.step(call)
    return env.step(ToolCall("done", answer=_begun(task)[0].answer))[1]


def test_there_are_many_tasks_of_many_programs():
    tasks = [task for split in splits().values() for task in split]
    assert len(tasks) == len(set(tasks)) >= 2000
    assert len(JOBS) - len(NOVEL_JOBS) >= 30
    assert set(NOVEL_JOBS) <= set(JOBS)
    programs = {tuple((c.name, *sorted(c.arguments)) for c in _begun(f"{name}/0")[0].calls) for name in JOBS}
    assert len(programs) >= 30  # even by the names of the calls alone


@pytest.mark.parametrize("name", JOBS)
def test_everything_that_was_wanted_is_needed_and_more_is_too_much(name):
    for seed in (0, 50, 60):
        task = f"{name}/{seed}"
        draft, _, wanted = _begun(task)
        assert played(task, draft.calls) == 1.0
        writing = [call for call in draft.calls if call.name not in LOOKING]
        assert bool(writing) == bool(wanted)
        assert wanted or draft.answer
        for call in writing:
            assert played(task, [other for other in draft.calls if other != call]) == 0.0
        assert played(task, [*draft.calls, ToolCall("write_file", path="more.txt", text="x")]) == 0.5
        assert played(task, [*draft.calls, ToolCall("send_mail", to="nobody", subject="", body="")]) == 1.0  # refused
        for message in (draft.request, *(call.arguments.get("question", "") for call in draft.calls)):
            assert not draft.answer or draft.answer not in message


SEEDS = range(50, 62)


def wanted(name: str, seed: int) -> tuple[Any, dict[str, list[Any]], list[Any], list[Any]]:
    """The task, the tables as they are in the beginning, and the rows that have to go and to come."""
    draft, image, found = _begun(f"{name}/{seed}")
    begun = pickle.loads(image)
    tables = {table: begun.table(table) for table in draft.tables}
    return draft, tables, [row for _, new, row in found if not new], [row for _, new, row in found if new]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_wanted_follows_from_the_office_and_the_request(seed):
    draft, tables, gone, _ = wanted("delete_from", seed)
    who = next(c for c in tables["contacts"] if c["name"] in draft.request)
    assert gone == [mail for mail in tables["mails"] if mail["sender"] == who["mail"]]

    draft, tables, gone, _ = wanted("cancel_guest", seed)
    planned = [e for e in tables["events"] if e["guest"] in draft.request and e["day"] in draft.request]
    assert gone == planned

    draft, tables, _, (event,) = wanted("first_free", seed)
    taken = {e["hour"] for e in tables["events"] if e["day"] == event["day"]}
    assert event["hour"] == min(set(range(8, 18)) - taken)

    draft, tables, _, _ = wanted("first_meeting", seed)
    mine = [e for e in tables["events"] if e["guest"] in draft.request]
    assert draft.answer == min(mine, key=lambda e: (e["day"], e["hour"]))["title"]

    draft, tables, _, (order,) = wanted("order_cheapest", seed)
    kind = draft.request.split("cheapest ")[1].split(".")[0]
    assert (
        order["product"] == min((p for p in tables["products"] if p["kind"] == kind), key=lambda p: p["cents"])["name"]
    )

    draft, tables, (file,), _ = wanted("delete_lowest", seed)
    folder = [f for f in tables["files"] if f["path"].startswith(file["path"].split("/")[0] + "/")]
    assert len(folder) == 3
    assert file == min(folder, key=lambda f: int(f["text"].split()[1]))

    draft, tables, _, (order,) = wanted("again", seed)
    assert {"product": order["product"], "quantity": order["quantity"]} in [
        {"product": o["product"], "quantity": o["quantity"]} for o in tables["orders"] if o["quantity"] > 10
    ]


def test_what_is_kept_back_is_needed_and_told_only_when_asked():
    for name in JOBS:
        draft = _begun(f"{name}/3")[0]
        for cues, reply in draft.hidden:
            assert reply not in draft.request
            assert scripted("Anything else?", draft.hidden) == SHRUG
            assert reply in scripted(f"So, {cues[0].upper()}?", draft.hidden)
    assert sum(bool(_begun(f"{name}/3")[0].hidden) for name in JOBS) >= 8


def test_other_ways_to_the_same_state_count():
    draft, _, wanted = _begun("move_later/0")
    (old, _), new = [row for _, _, row in wanted], wanted[-1][2]
    calls = [
        ToolCall("cancel_event", id=old["id"]),
        ToolCall("add_event", day=new["day"], hour=new["hour"], title=new["title"].upper(), guest=new["guest"]),
    ]
    assert played("move_later/0", calls) == 1.0
    draft, _, wanted = _begun("tell_phone/0")
    row = wanted[0][2]
    mail = {"to": row["recipient"], "subject": "Hi", "body": f"Dear friend, the number is {row['body']}. Yours, me"}
    assert played("tell_phone/0", [ToolCall("send_mail", **mail)]) == 1.0
    everything = row["body"] + " and" * 40  # a mail that says everything says nothing
    assert played("tell_phone/0", [ToolCall("send_mail", **{**mail, "body": everything})]) == 0.0
    assert played("tell_phone/0", [ToolCall("send_mail", **mail)] * 2) == 0.5
    assert draft.request


def test_the_wrong_answer_is_no_success():
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": "due_day/0"})
    assert env.step(ToolCall("done", answer="2026-03-01"))[1] == 0.0
    env.reset(seed=0, options={"task": "due_day/0"})
    assert env.step(ToolCall("done", answer=" 2026-03-11."))[1] == 1.0


def test_databases_are_kept_and_compared():
    made = Database()
    made.insert("orders", {"product": "lamp", "quantity": 2})
    again = pickle.loads(pickle.dumps(made))
    assert changes(made, again) == []
    again.insert("orders", {"product": "lamp", "quantity": 2})
    (change,) = changes(made, again)
    assert change == ("orders", True, {"id": 2, "product": "lamp", "quantity": 2})
    assert made.table("orders") == [{"id": 1, "product": "lamp", "quantity": 2}]
    assert settle([change], []) == ([change], [])
    assert settle([], [change]) == ([], [change])
    assert settle([change], [("orders", True, {**change[2], "id": 9})]) == ([], [])
    assert settle([change], [("orders", True, {**change[2], "quantity": 3})])[0] == [change]


def test_what_is_typed_is_never_a_query():
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": "book/0"})
    before = pickle.dumps(env.database)
    for text in ("'; drop table mails; --", "x' or '1'='1", "%", "\ud800"):
        for call in (
            ToolCall("read_file", path=text),
            ToolCall("find_contact", words=text),
            ToolCall("list_events", day=text),
            ToolCall("send_mail", to=text, subject=text, body=text),
        ):
            (message,), _, over, _, _ = env.step(call)
            assert not over
            assert "555-" not in message["content"] or text in ("%", "\ud800")  # no word: all
    assert pickle.dumps(env.database) == before


def test_random_play_and_constant_answers_earn_nothing():
    env: Any = registry.make(NAME)
    unseen = splits()["unseen"]
    won = 0
    for i, task in enumerate(unseen):
        env.reset(seed=i, options={"task": task})
        rng = random.Random(i)
        over = False
        for _ in range(20):
            if not over:
                _, reward, over, _, _ = env.step(random_action(env, rng))
                won += reward == 1.0
    assert won / len(unseen) < 0.05
    told = Counter(_begun(task)[0].answer for task in unseen if not _begun(task)[2])
    assert told.most_common(1)[0][1] / len(unseen) < 0.1
    for task in unseen[::7]:
        assert played(task, []) == (1.0 if not _begun(task)[2] else 0.0)  # with the right answer, that is


class Server(http.server.BaseHTTPRequestHandler):
    """Chat completions by somebody who says the last thing that the system message tells, and notes what came."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        known = [line[2:] for line in body["messages"][0]["content"].splitlines() if line.startswith("- ")]
        reply = json.dumps({"choices": [{"message": {"content": f" {known[-1]} "}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args: Any) -> None:
        pass


def test_a_model_can_be_the_user(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1#some-model"
        env: Any = registry.make("agentrl/OfficeWithUser-v0", user=address)
        observation, _ = env.reset(seed=0, options={"task": "book/0"})
        (message,), *_ = env.step(ToolCall("ask", question="When shall it be?"))
        env.step(ToolCall("ask", question="And once more?"))
        while True:
            _, reward, over, _, _ = env.step(env.expert())
            if over:
                break
        env.close()
        server.shutdown()
    assert reward == 1.0
    assert message["content"] == _begun("book/0")[0].hidden[0][1]
    path, key, body = server.seen[1]  # type: ignore[attr-defined]
    assert (path, key, body["model"]) == ("/v1/chat/completions", "Bearer secret", "some-model")
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][-1]["content"] == "And once more?"
    assert observation in body["messages"][0]["content"]
    assert ME not in body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("status", "body", "read"),
    [
        (200, {"choices": [{"message": {"content": None}}]}, SHRUG),
        (400, {"error": "no model 'x'"}, "refused with 400: .*no model 'x'"),
        (200, {"answer": "At 11."}, "said what is no chat completion"),
    ],
)
def test_a_user_that_does_not_answer_is_no_fault_of_the_agent(status, body, read):
    class Bad(Server):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bad) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        user = ModelUser(f"http://127.0.0.1:{server.server_address[1]}/v1#x")
        if read == SHRUG:
            assert user.answer("When?", "Book it.", [], []) == SHRUG
        else:
            with pytest.raises(RuntimeError, match=read):  # which ends the episode as a failure, without a reward
                user.answer("When?", "Book it.", [], [])
        server.shutdown()


def test_a_user_that_is_not_there_is_named():
    with socket.socket() as deaf:  # its port is taken, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        with pytest.raises(RuntimeError, match=f"the user at {address} does not answer"):
            ModelUser(f"{address}#x").answer("When?", "Book it.", [], [])


def test_a_wrong_address_or_task_is_named():
    with pytest.raises(UserError, match="a user is an address such as"):
        registry.make("agentrl/OfficeWithUser-v0")
    env: Any = registry.make(NAME)
    for task in ("book", "nothing/1", 7):
        with pytest.raises(UserError, match="a task is JOB/SEED"):
            env.reset(seed=0, options={"task": task})


def test_the_suites_and_the_contract():
    assert len(suites.load("office-unseen").tasks()) == 400
    assert len(suites.load("office-novel").tasks()) == 180
    report = check(NAME)
    assert report.ok, str(report)
