"""Pages and clicks."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs.shop import store
from agentrl.envs.shop.catalogue import SIZE, catalogue, numbers
from agentrl.envs.shop.store import State, page_of, parse, step, text_of


def walk(*actions: str) -> State:
    state = State()
    for action in actions:
        after = step(state, action)
        assert after is not None, action
        state = after
    return state


def test_the_catalogue_is_full_and_every_attribute_stands_in_the_text():
    assert len(catalogue()) == len(numbers()) == SIZE >= 10_000
    for product in catalogue()[::97]:
        assert all(attribute in product.text() for attribute in product.attributes)
        assert all(len(values) >= 2 for values in product.options.values())
        assert product.cents > 0


def test_a_purchase():
    state = walk("search[running shoes]", "click[next >]", "click[< prev]")
    id = page_of(state).listed[3][0]
    state = walk("search[running shoes]", f"click[{id}]", "click[features]", "click[< prev]")
    page = page_of(state)
    assert page.lines[0] == catalogue()[numbers()[id]].title
    (first, values, chosen), (second, others, _) = page.options
    assert chosen is None
    state = step(step(step(state, f"click[{values[0]}]"), f"click[{others[1]}]"), f"click[{values[1]}]")
    assert dict(state.chosen) == {first: values[1], second: others[1]}
    assert f"chosen: {values[1]}" in text_of(page_of(state))
    end = step(state, "click[buy now]")
    assert end.bought
    assert page_of(end).clickable == ()
    assert step(end, "click[back to search]") is None


def test_what_was_chosen_goes_with_the_product():
    state = walk("search[jeans]")
    id = page_of(state).listed[0][0]
    state = step(state, f"click[{id}]")
    value = page_of(state).options[0][1][0]
    state = step(state, f"click[{value}]")
    assert step(step(state, "click[reviews]"), "click[< prev]") == state
    assert step(state, "click[< prev]") == walk("search[jeans]")
    assert step(state, "click[back to search]") == State()


def test_pages_of_results():
    state = walk("search[jeans]")
    seen = []
    while True:
        page = page_of(state)
        seen += [id for id, _, _ in page.listed]
        if store.NEXT not in page.buttons:
            break
        state = step(state, "click[next >]")
    assert len(seen) == len(set(seen)) == 50
    assert state.page == 4
    nothing = page_of(walk("search[qqqq]"))
    assert nothing.lines == ("Page 1 of 1 (0 results)",)
    assert nothing.buttons == (store.BACK,)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("search[red shoes]", ("search", "red shoes")),
        (" Click[ Buy  Now ] ", ("click", "buy now")),
        ("search [a]", ("search", "a")),
        ("search[a[b]]", ("search", "a[b]")),
        ("buy[x]", None),
        ("search red", None),
        ("", None),
        ("search[" + "x" * 10**6 + "]", None),
    ],
)
def test_actions_are_read(text, parsed):
    assert parse(text) == parsed


@pytest.mark.parametrize("action", ["click[buy now]", "search[]", "search[  ]", "click[]", "click[bababa]", "look"])
def test_what_a_page_does_not_offer_means_nothing(action):
    assert step(State(), action) is None


def test_there_is_a_search_bar_on_the_search_page_only():
    assert step(walk("search[jeans]"), "search[hoodie]") is None


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_whatever_can_be_clicked_can_be_clicked_and_nothing_else(seed):
    rng = random.Random(seed)
    state = walk(f"search[{rng.choice(catalogue()).title}]")
    for _ in range(10):
        page = page_of(state)
        assert all(f"[{name}]" in text_of(page) for name in page.clickable)
        assert len(set(page.clickable)) == len(page.clickable)
        names = {
            "description",
            "features",
            "reviews",
            "buy now",
            "< prev",
            "next >",
            "back to search",
            "navy",
            "bababa",
        }
        for name in names - set(page.clickable):
            assert step(state, f"click[{name}]") is None
        clickable = [name for name in page.clickable if name not in (store.BUY, store.BACK)]
        if not clickable:
            break
        state = step(state, f"click[{rng.choice(clickable)}]")
