"""Formats read hostile text: an action or a ParseError, nothing else, and quickly."""

import contextlib
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentrl.agents.formats import FORMATS, MAX_ACTION_CHARS, ParseError, format_named, without_thinking
from agentrl.errors import UserError
from agentrl.types import ToolCall

TAGS = ("<think>", "</think>", "<action>", "</action>", "<tool_call>", "</tool_call>")
PIECES = (*TAGS, '{"name": "f", "arguments": {}}', "{", "}", '"', "[", "go north", "\n", "é", "\ud800", "NaN", "1e999")
noise = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
plain = st.text(min_size=1, max_size=40).filter(lambda t: t.strip() == t and not any(tag in t for tag in TAGS))


@pytest.mark.parametrize("name", FORMATS)
@given(text=noise)
@example('<tool_call>{"name": "f", "arguments": {"x": ' + "9" * 5000 + "}}</tool_call>")
@example('<tool_call>{"name": "f", "arguments": {"x": ' + "[" * 900 + "]" * 900 + "}}</tool_call>")
@example("<tool_call>" + "[" * 19_000)
@example("<tool_call></tool_call>")
@example("<action>" * 3)
def test_any_text_gives_an_action_or_a_one_line_error(name, text):
    try:
        action = format_named(name).parse(text)
    except ParseError as error:
        said = str(error)
    else:
        said = "x"
        calls = action if isinstance(action, list) else [action]
        assert all(isinstance(call, ToolCall) or call.strip() for call in calls)
    assert len(said.splitlines()) == 1
    assert len(said) < 300


@given(plain)
def test_action_tags_are_read_as_they_are_written(action):
    tags = format_named("action")
    assert tags.parse(tags.render(action)) == action
    assert tags.parse("<think><action>no</action></think>so " + tags.render(action)) == action


@given(plain)
def test_plain_text_is_read_as_it_is_written(action):
    text = format_named("text")
    assert text.parse(text.render(action)) == action


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(TAGS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def call(name, arguments):
    made = ToolCall(name)
    made.arguments = arguments
    return made


calls = st.builds(call, st.text(min_size=1, max_size=10), st.dictionaries(st.text(max_size=8), values, max_size=3))


@given(st.lists(calls, min_size=1, max_size=3))
@example([call("write", {"text": "</tool_call> and </think> and <think>"})])
def test_tool_calls_are_read_as_they_are_written_whatever_their_arguments_hold(made):
    tools = format_named("tools")
    assert tools.parse(tools.render(made)) == (made[0] if len(made) == 1 else made)


def test_an_answer_without_a_tool_call_is_text():
    assert format_named("tools").parse("<think>hm</think> Paris ") == "Paris"


def test_the_last_action_counts_and_an_unclosed_one_does_not():
    tags = format_named("action")
    assert tags.parse("<action>a</action> or <action> b </action> or <action>c") == "b"
    for text in ("go north", "<action>a", "a</action>", "<think><action>a</action>", "<action> </action>"):
        with pytest.raises(ParseError):
            tags.parse(text)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_too_long_is_refused_not_cut(name):
    long = "x" * (MAX_ACTION_CHARS + 1)
    with pytest.raises(ParseError, match="too long"):
        format_named(name).parse(f"<action>{long}</action>" if name == "action" else long)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("piece", ["<action>", "</action>", "<tool_call>", "<think>", "</think>", "<action></action>"])
def test_repeated_tags_take_linear_time(name, piece):
    begin = time.perf_counter()
    with contextlib.suppress(ParseError):
        format_named(name).parse(piece * 20_000)
    assert time.perf_counter() - begin < 1.0


def test_thinking_is_what_stands_before_its_last_closing_tag():
    assert without_thinking("<think>a</think>b<think>c") == "b"
    assert without_thinking("a</think>b") == "b"


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'action'"):
        format_named("actoin")
