"""The application over HTTP, without and with a browser."""

from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from agentrl.envs import registry
from agentrl.envs.site import data
from agentrl.envs.site.app import App
from agentrl.envs.site.tasks import TEMPLATES
from agentrl.types import ToolCall


@pytest.fixture
def app():
    made = App()
    yield made
    made.close()


def get(app, path):
    with urlopen(app.origin + path) as answer:
        return answer.read().decode()


def post(app, path, **form):
    with urlopen(app.origin + path, urlencode(form).encode()) as answer:
        return answer.url.removeprefix(app.origin), answer.read().decode()


def test_lists_are_searched_and_turned(app):
    assert "60 found" in get(app, "/products")
    assert "Previous" in get(app, "/products?page=2")
    assert "1 found" in get(app, "/orders?q=order+1007")
    assert get(app, "/products").count("<tr>") == 21


def test_forms_change_the_database_and_begin_puts_it_back(app):
    before = app.contents()
    post(app, "/orders/3", status="packed", tracking="T1", note="<b>")
    assert app.contents()["orders"][2][4:] == ("packed", "T1", "<b>")
    assert "&lt;b&gt;" in get(app, "/orders/3")
    path, _ = post(app, "/topics/new", title="New one", section="Help")
    assert path == "/topics/31"
    post(app, f"{path}/reply", text="Hello")
    assert app.contents()["posts"][-1][1:] == (31, "Sam Admin", "Hello", 0)
    post(app, "/products/5/delete")
    assert len(app.contents()["products"]) == 59
    app.begin()
    assert app.contents() == before == data.contents(data.fresh())


def test_what_is_locked_takes_no_reply(app):
    locked = next(row[0] for row in app.contents()["topics"] if row[4])
    before = app.contents()
    post(app, f"/topics/{locked}/reply", text="Hello")
    assert app.contents() == before


@pytest.mark.parametrize(
    "path", ["/nope", "/orders/999", "/orders/x", "/orders/1'--", "/orders/new", "/sqlite_master", "/orders/0",
             "/orders?page=0", "/orders/" + "9" * 50]
)  # fmt: skip
def test_pages_that_are_not_there(app, path):
    with pytest.raises(HTTPError, match="404"):
        get(app, path)


def test_forms_that_do_not_fit_are_read_as_far_as_they_go(app):
    post(app, "/products/1", name="x'); drop table orders; --", category="Nope", price="1e9x", stock="many")
    assert app.contents()["products"][0][1:] == ("x'); drop table orders; --", "Garden", 0, 0, 0)
    assert len(app.contents()["orders"]) == 60
    with pytest.raises(HTTPError, match="404"):
        post(app, "/posts/1/explode")


@pytest.fixture
def site(chromium):
    env = registry.make("agentrl/Site-v0")
    yield env
    env.close()


def play(env, task):
    env.reset(options={"task": task})
    for turns in range(1, env.max_turns + 1):
        _, reward, over, _, info = env.step(env.expert())
        if over:
            return reward, info["success"], turns
    return 0.0, False, turns


@pytest.mark.web
@pytest.mark.timeout(280)
def test_every_template_can_be_done_in_the_browser(site):
    for template in TEMPLATES:
        assert play(site, f"{template}/41")[:2] == (1.0, True), template


@pytest.mark.web
def test_doing_too_much_or_nothing_earns_nothing(site):
    site.reset(options={"task": "order-ship/0"})
    assert site.step(ToolCall("done"))[1] == 0.0
    site.reset(options={"task": "order-ship/0"})
    post(site._app, "/products/5/delete")  # what nobody asked for
    for _ in range(3):  # goes there, chooses, saves
        site.step(site.expert())
    assert site.step(ToolCall("done"))[1] == 0.0
    site.reset(options={"task": "ask-total/0"})
    assert site.step(ToolCall("done", answer="1"))[1] == 0.0
