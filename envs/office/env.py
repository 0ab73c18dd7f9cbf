"""``agentrl/Office-v0``: do what a user wants done in an office, and nothing else.

A task is ``JOB/SEED``. The reward looks at the office's database: 1 where everything that was wanted is done (and what
was asked for is told), 0.5 where something else was changed too, else 0. What the user keeps back is told when asked
for. ``novel`` holds jobs that are never trained on. As AppWorld (arXiv 2407.18901) and tau-bench (2406.12045) do it.
"""

from __future__ import annotations

import functools
import pickle
import random
from typing import Annotated, Any, Literal

from pydantic import Field

from agentrl.envs.ids import by_kind
from agentrl.envs.office.database import Change, Database, Row, changes, settle, words
from agentrl.envs.office.draft import ME, Draft
from agentrl.envs.office.jobs import JOBS
from agentrl.envs.office.user import ModelUser, scripted
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.tools import ToolError, tool
from agentrl.types import ToolCall

TRAIN, UNSEEN, NOVEL = range(50), range(50, 60), range(60, 90)  # seeds
NOVEL_JOBS = ("add_invoices", "answer_proposal", "move_and_tell", "send_to_all", "gift", "replace_cheaper")
COLLATERAL = 0.5
Whole = Annotated[int, Field(ge=0, le=1_000_000)]


def splits() -> dict[str, list[str]]:
    known = [name for name in JOBS if name not in NOVEL_JOBS]
    return by_kind(known, train=TRAIN, unseen=UNSEEN) | by_kind(NOVEL_JOBS, novel=NOVEL)


class Office(ToolEnv):
    """Do what the user wants with mail, calendar, files, contacts and shop, and change nothing else. Ask the user for
    what you were not told. Finish with done, and with the answer where something was asked.
    """

    def start(self, task: str, rng: random.Random) -> str:
        self.task = task
        self.database = pickle.loads(_begun(task)[1])
        self.task_type = JOBS[task.partition("/")[0]].__module__.rpartition(".")[2]
        self.talk: list[tuple[str, str]] = []
        return _begun(task)[0].request

    @tool
    def find_contact(self, words: str) -> str:
        """Contacts that have all these words: name, mail address, phone, company, birthday."""
        return self._listed("select * from contacts order by name", words)

    @tool
    def update_contact(self, name: str, field: Literal["mail", "phone", "company", "birthday"], value: str) -> str:
        """Change a contact."""
        self._one("select * from contacts where name = ?", name)
        self.database.rows(f"update contacts set {field} = ? where name = ?", value, name)
        return "changed"

    @tool
    def search_mail(self, words: str) -> str:
        """Mails whose sender, subject or text have all these words."""
        return self._listed("select * from mails order by id", words, without=("body", "recipient"))

    @tool
    def read_mail(self, id: Whole) -> str:
        """The text of a mail."""
        return str(self._one("select body from mails where id = ?", id)["body"])

    @tool
    def send_mail(self, to: str, subject: str, body: str) -> str:
        """Send a mail to an address."""
        self._one("select name from contacts where mail = ?", to)
        row = {"sender": ME, "recipient": to, "day": "2026-03-01", "subject": subject, "body": body}
        self.database.insert("mails", row)
        return "sent"

    @tool
    def delete_mail(self, id: Whole) -> str:
        """Delete a mail for good."""
        self._one("select id from mails where id = ?", id)
        self.database.rows("delete from mails where id = ?", id)
        return "deleted"

    @tool
    def list_events(self, day: str) -> str:
        """What is planned on a day, such as 2026-03-02."""
        return self._lines(self.database.rows("select * from events where day = ? order by hour, id", day))

    @tool
    def add_event(self, day: str, hour: Annotated[int, Field(ge=0, le=23)], title: str, guest: str = "") -> str:
        """Plan something; a guest is the name of a contact."""
        self.database.insert("events", {"day": day, "hour": hour, "title": title, "guest": guest})
        return "added"

    @tool
    def move_event(self, id: Whole, day: str, hour: Annotated[int, Field(ge=0, le=23)]) -> str:
        """Plan something for another time."""
        self._one("select id from events where id = ?", id)
        self.database.rows("update events set day = ?, hour = ? where id = ?", day, hour, id)
        return "moved"

    @tool
    def cancel_event(self, id: Whole) -> str:
        """Take something out of the calendar. Its guest is not told."""
        self._one("select id from events where id = ?", id)
        self.database.rows("delete from events where id = ?", id)
        return "cancelled"

    @tool
    def list_files(self) -> str:
        """The paths of all files."""
        return self._lines(self.database.rows("select path from files order by path"))

    @tool
    def read_file(self, path: str) -> str:
        """The text of a file."""
        return str(self._one("select text from files where path = ?", path)["text"])

    @tool
    def write_file(self, path: str, text: str) -> str:
        """Make a file, or put a text in place of what is in it."""
        self.database.rows("insert or replace into files values (?, ?)", path, text)
        return "written"

    @tool
    def delete_file(self, path: str) -> str:
        """Delete a file for good."""
        self._one("select path from files where path = ?", path)
        self.database.rows("delete from files where path = ?", path)
        return "deleted"

    @tool
    def search_shop(self, words: str) -> str:
        """Products that have all these words: name, kind, price in cents, rating from 0 to 100."""
        return self._listed("select * from products order by name", words)

    @tool
    def list_orders(self) -> str:
        """What was ordered: number, product, quantity."""
        return self._lines(self.database.rows("select * from orders order by id"))

    @tool
    def order(self, product: str, quantity: Annotated[int, Field(ge=1, le=1000)]) -> str:
        """Order a product by its name."""
        self._one("select name from products where name = ?", product)
        self.database.insert("orders", {"product": product, "quantity": quantity})
        return "ordered"

    @tool
    def cancel_order(self, id: Whole) -> str:
        """Cancel an order."""
        self._one("select id from orders where id = ?", id)
        self.database.rows("delete from orders where id = ?", id)
        return "cancelled"

    @tool
    def ask(self, question: str) -> str:
        """Ask the user something."""
        reply = self._reply(question)
        self.talk.append((question, reply))
        return reply

    @tool(final=True)
    def done(self, answer: str = "") -> float:
        """Finish, with the answer where the user wanted to know something."""
        draft, _, wanted = _begun(self.task)
        missing, beside = settle(wanted, changes(_image(self.task), self.database))
        if missing or (draft.answer and words(answer) != words(draft.answer)):
            return 0.0
        return COLLATERAL if beside else 1.0

    def expert(self) -> ToolCall:
        draft = _begun(self.task)[0]
        todo = [call for call in draft.calls if call not in self.used]
        return todo[0] if todo else ToolCall("done", answer=draft.answer)

    def state_key(self) -> Any:
        """What the user wants, and the calls that were made, in whatever order."""
        return _begun(self.task)[0].request, {str(call) for call in self.used}

    def _reply(self, question: str) -> str:
        return scripted(question, _begun(self.task)[0].hidden)

    def _one(self, query: str, value: Any) -> Row:
        found = self.database.rows(query, value)
        if not found:
            raise ToolError(f"there is no {str(value)[:60]!r} here")
        first: Row = found[0]
        return first

    def _listed(self, query: str, wanted: str, without: tuple[str, ...] = ()) -> str:
        needed = set(words(wanted))
        rows = [r for r in self.database.rows(query) if needed <= set(words(" ".join(map(str, r.values()))))]
        return self._lines([{k: v for k, v in row.items() if k not in without} for row in rows])

    def _lines(self, rows: list[Row]) -> str:
        return "\n".join(" | ".join(map(str, row.values())) for row in rows) or "nothing found"


class OfficeWithUser(Office):
    """The same with a language model as the user; ``user``: its address, as ``http://localhost:8000/v1#model``."""

    instructions = Office.instructions
    blocking = True
    snapshot_level = "none"  # the model may answer otherwise the next time

    def __init__(self, user: str = "") -> None:
        self.model = ModelUser(user)

    def _reply(self, question: str) -> str:
        draft = _begun(self.task)[0]
        return self.model.answer(question, draft.request, draft.hidden, self.talk)


@functools.lru_cache(maxsize=512)
def _begun(task: str) -> tuple[Draft, bytes, list[Change]]:
    """The task, its office as it is in the beginning, and what has to change there."""
    name, _, seed = str(task).rpartition("/")
    if name not in JOBS or not seed.isdecimal():
        raise UserError(f"unknown task {task!r} of Office; a task is JOB/SEED, as book/0")
    draft = Draft(random.Random(derive("office", name, int(seed))))
    JOBS[name](draft)
    image = pickle.dumps(draft.database())
    played = Office()
    played.database, played.task, played.talk = pickle.loads(image), task, []
    for call in draft.calls:
        if call.name != "ask":
            getattr(played, call.name)(**call.arguments)
    return draft, image, changes(pickle.loads(image), played.database)


def _image(task: str) -> Database:
    made: Database = pickle.loads(_begun(task)[1])
    return made
