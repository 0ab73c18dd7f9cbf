"""The store as a web site: addresses are states, and it tells and pays what the text rendering does."""

import random
from dataclasses import replace
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs import registry
from agentrl.envs.shop import site, store
from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.env import Shop
from agentrl.envs.shop.store import State
from agentrl.types import ToolCall


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_addresses_are_states(seed):
    rng = random.Random(seed)
    state = store.step(State(), f"search[{rng.choice(catalogue()).title} & ünter=1?]")
    for _ in range(8):
        assert site.state_of("http://127.0.0.1:1" + site.address(state)) == state
        clickable = store.page_of(state).clickable
        if not clickable:
            break
        state = store.step(state, f"click[{rng.choice(clickable)}]")


@pytest.mark.parametrize(
    "query", ["page=9", "page=-1", "page=x", "product=3", "q=a&product=99999", "q=a&product=1&tab=x", "bought=1",
              "q=a&product=1&o.color=plaid", "q=a&tab=features"]
)  # fmt: skip
def test_addresses_of_no_state_are_refused(query):
    assert site.state_of(f"/?{query}") is None


def test_the_server_answers_without_a_browser():
    origin = site.shared().origin
    with urlopen(f"{origin}/search?words=jeans") as answer:
        text = answer.read().decode()
        assert "Page 1 of 5 (50 results)" in text
        assert site.state_of(answer.url) == store.step(State(), "search[jeans]")
    assert site.shared().origin == origin


def test_pages_are_escaped(monkeypatch):
    product = replace(catalogue()[0], title="<script>alert(1)</script>", reviews=("<b>&",))
    monkeypatch.setattr(store, "catalogue", lambda: (product,))
    store.page_of.cache_clear()
    for tab in (None, "reviews"):
        text = site.html_of(State(query="x", product=0, tab=tab))
        assert "<script" not in text
        assert "<b>" not in text
    store.page_of.cache_clear()


@pytest.fixture
def web(chromium):
    env = registry.make("agentrl/ShopWeb-v0")
    yield env
    env.close()


@pytest.mark.web
@pytest.mark.timeout(280)
def test_random_walks_read_and_pay_the_same(web):
    text, rng = Shop(), random.Random(0)
    for walk in range(10):
        task = {"task": f"train-{walk:05d}"}
        text.reset(options=task)
        web.reset(options=task)
        for _ in range(8):
            assert web.facts() == text.state_key()
            action = text.expert() if rng.random() < 0.5 else rng.choice(text.admissible_actions())
            _, reward, over, _, info = text.step(action)
            seen = web.step(web.call_of(action))
            assert (seen[1], seen[2], seen[4]["success"]) == (reward, over, info["success"]), action
            assert web.state == text._state
            if over:
                break


@pytest.mark.web
def test_what_a_page_does_not_offer_does_nothing(web):
    web.reset(options={"task": "train-00001"})
    before = web.facts()
    assert "no element 99" in web.step(ToolCall("click", ref=99))[0][0]["content"]
    assert not web.step("click[buy now]")[4]["valid"]
    assert web.facts() == before
