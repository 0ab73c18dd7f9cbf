"""The application: lists with a search, forms, and a forum's topics, over sqlite, served on a free port."""

from __future__ import annotations

import sqlite3
import threading
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from agentrl.envs.pages import PageHandler, PageServer
from agentrl.envs.site import data
from agentrl.envs.site.data import TABLES, Field, Table

PER_PAGE = 20
ME = "Sam Admin"  # who is logged in
_LONGEST = 20_000  # characters of a form
_STYLE = (
    "body{font:15px sans-serif;margin:12px;max-width:900px} td,th{padding:2px 8px;text-align:left} label{display:block}"
)


class App(PageServer):
    """One application with one database. ``begin`` puts the database back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # one request at a time: sqlite's connection is shared
        self.db = data.fresh()
        super().__init__(_Handler, "agentrl-site")

    def begin(self) -> None:
        with self.lock:
            self.db.close()
            self.db = data.fresh()

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        with self.lock:
            return data.contents(self.db)

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.db.close()


class NotFound(Exception):
    """There is no such page or row."""


def show(db: sqlite3.Connection, path: list[str], query: dict[str, str]) -> str:
    """The page of a path: ``/``, ``/TABLE``, ``/TABLE/new``, ``/TABLE/ID``."""
    if not path:
        links = " ".join(f"<a href=/{name}>{name.capitalize()}</a>" for name in TABLES)
        return _page("Home", f"<p>Welcome, {ME}. Choose what to work on.</p><p>{links}</p>")
    table = _table(path[0])
    if len(path) == 1:
        return _listed(db, table, query.get("q", ""), _number(query.get("page", "1")))
    if path[1] == "new" and table.new:
        return _page(f"New in {table.name}", _form(table, {}, f"/{table.name}/new", "Create"))
    row = _row(db, table, path[1])
    parts = [_form(table, dict(row), f"/{table.name}/{row['id']}", "Save")]
    if table.name == "orders":
        parts.insert(0, f"<p>Customer: {escape(row['customer'])}</p><p>Total: {row['total']:.2f}</p>")
    if table.name == "reviews":
        parts.insert(0, f"<p>Product: {escape(row['product'])}</p><p>Stars: {row['stars']}</p>")
    if table.delete:
        parts.append(_button(f"/{table.name}/{row['id']}/delete", "Delete"))
    if table.name == "topics":
        parts.append(_posts(db, row["id"], bool(row["locked"])))
    return _page(str(row[table.title]), "".join(parts))


def act(db: sqlite3.Connection, path: list[str], form: dict[str, str]) -> str:
    """What a form that was sent does; the path to go to next."""
    if len(path) >= 2 and path[0] == "posts":
        return _on_post(db, path[1:])
    table = _table(path[0] if path else "")
    values = {field.name: _read(field, form) for field in table.fields}
    if path[1:] == ["new"] and table.new:
        marks = ", ".join("?" * len(values))
        made = db.execute(f"insert into {table.name} ({', '.join(values)}) values ({marks})", [*values.values()])
        return f"/{table.name}/{made.lastrowid}"
    row = _row(db, table, path[1] if len(path) > 1 else "")
    if path[2:] == ["delete"] and table.delete:
        db.execute(f"delete from {table.name} where id = ?", (row["id"],))
        return f"/{table.name}"
    if path[2:] == ["reply"] and table.name == "topics":
        if not row["locked"] and form.get("text", "").strip():
            reply = (row["id"], ME, form["text"].strip())
            db.execute("insert into posts (topic, author, text) values (?, ?, ?)", reply)
        return f"/topics/{row['id']}"
    if path[2:]:
        raise NotFound
    sets = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"update {table.name} set {sets} where id = ?", [*values.values(), row["id"]])
    return f"/{table.name}/{row['id']}"


def _on_post(db: sqlite3.Connection, path: list[str]) -> str:
    post = db.execute("select * from posts where id = ?", (_number(path[0]),)).fetchone()
    if post is None or path[1:] not in (["like"], ["delete"]):
        raise NotFound
    if path[1] == "like":
        db.execute("update posts set likes = likes + 1 where id = ?", (post["id"],))
    else:
        db.execute("delete from posts where id = ?", (post["id"],))
    return f"/topics/{post['topic']}"


def _listed(db: sqlite3.Connection, table: Table, asked: str, page: int) -> str:
    counted = "(select count(*) from posts where topic = topics.id) posts, " if table.name == "topics" else ""
    found = db.execute(
        f"select {counted}* from {table.name} where instr(lower({table.title}), lower(?)) order by id", (asked,)
    ).fetchall()
    shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    head = "".join(f"<th>{name.capitalize()}</th>" for name in (table.title, *table.columns))
    rows = "".join(
        f"<tr><td><a href=/{table.name}/{row['id']}>{escape(str(row[table.title]))}</a></td>"
        + "".join(f"<td>{escape(_told(row[column]))}</td>" for column in table.columns)
        + "</tr>"
        for row in shown
    )
    turn = [
        f'<a href="/{table.name}?{urlencode({"q": asked, "page": n})}">{name}</a>'
        for name, n, is_there in (("Previous", page - 1, page > 1), ("Next", page + 1, page * PER_PAGE < len(found)))
        if is_there
    ]
    new = f"<p><a href=/{table.name}/new>New</a></p>" if table.new else ""
    return _page(
        table.name.capitalize(),
        f'<form><input name=q aria-label=Search value="{escape(asked)}"> <button>Find</button></form>'
        f"<p>{len(found)} found</p><table><tr>{head}</tr>{rows}</table><p>{' '.join(turn)}</p>{new}",
    )


def _posts(db: sqlite3.Connection, topic: int, locked: bool) -> str:
    parts = ["<h2>Posts</h2>"]
    for post in db.execute("select * from posts where topic = ? order by id", (topic,)):
        name = f"{escape(post['author'])}"
        buttons = "".join(
            _button(f"/posts/{post['id']}/{does.lower()}", does, f"{does} {name}") for does in ("Like", "Delete")
        )
        parts.append(f"<div>{name}: {escape(post['text'])} ({post['likes']} likes) {buttons}</div>")
    if locked:
        return "".join([*parts, "<p>This topic is locked.</p>"])
    reply = "<label>Reply <textarea name=text></textarea></label><button>Send</button>"
    parts.append(f'<form method=post action="/topics/{topic}/reply">{reply}</form>')
    return "".join(parts)


def _form(table: Table, values: dict[str, Any], action: str, button: str) -> str:
    parts = []
    for field in table.fields:
        value = values.get(field.name)
        if field.kind == "check":
            control = f"<input type=checkbox name={field.name} {'checked' if value else ''}>"
        elif isinstance(field.kind, tuple):
            options = "".join(f"<option{' selected' if o == value else ''}>{o}</option>" for o in field.kind)
            control = f"<select name={field.name}>{options}</select>"
        else:
            control = f'<input name={field.name} value="{escape(_told(value))}">'
        parts.append(f"<label>{field.label} {control}</label>")
    return f'<form method=post action="{action}">{"".join(parts)}<button>{button}</button></form>'


def _button(action: str, name: str, label: str = "") -> str:
    told = f' aria-label="{label}"' if label else ""
    return f'<form method=post action="{action}" style=display:inline><button{told}>{name}</button></form>'


def _read(field: Field, form: dict[str, str]) -> Any:
    text = form.get(field.name, "").strip()
    if field.kind == "check":
        return int(field.name in form)
    if field.kind == "number":
        try:
            return float(text) if "." in text else int(text or 0)
        except ValueError:
            return 0
    if isinstance(field.kind, tuple):
        return text if text in field.kind else field.kind[0]
    return text


def _told(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _table(name: str) -> Table:
    if name not in TABLES:
        raise NotFound
    return TABLES[name]


def _row(db: sqlite3.Connection, table: Table, id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(f"select * from {table.name} where id = ?", (_number(id),)).fetchone()
    if row is None:
        raise NotFound
    return row


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise NotFound
    return int(text)


def _page(title: str, body: str) -> str:
    menu = " ".join(f"<a href=/{name}>{name.capitalize()}</a>" for name in TABLES)
    return (
        f"<!doctype html><title>{escape(title)}</title><style>{_STYLE}</style><nav><a href=/>Home</a> {menu}</nav>"
        f"<h1>{escape(title)}</h1>{body}"
    )


class _Handler(PageHandler):
    server: App

    def do_GET(self) -> None:
        path, query = self._asked()
        try:
            with self.server.lock:
                text = show(self.server.db, path, query)
            self.answer(200, text)
        except NotFound:
            self.answer(404, _page("Not found", "<p>There is no such page.</p>"))

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _LONGEST)
        form = dict(parse_qsl(self.rfile.read(length).decode("utf-8", "replace"), keep_blank_values=True))
        path, _ = self._asked()
        try:
            with self.server.lock:
                after = act(self.server.db, path, form)
                self.server.db.commit()
            self.answer(303, "", after)
        except NotFound:
            self.answer(404, _page("Not found", "<p>There is no such page.</p>"))

    def _asked(self) -> tuple[list[str], dict[str, str]]:
        parts = urlsplit(self.path)
        return [part for part in parts.path.split("/") if part], dict(parse_qsl(parts.query))
