"""Formats read hostile text: an action or a ParseError, nothing else, and quickly."""

import contextlib
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentrl.agents.chat import FORMATS
from agentrl.agents.formats import MAX_ACTION_CHARS, ParseError, without_thinking
from agentrl.types import ToolCall

PARAMETERS = {
    "python": {"properties": {"code": {"type": "string"}}, "required": ["code"]},
    "search": {"properties": {"query": {"type": "string"}, "k": {"type": "integer"}}, "required": ["query"]},
    "add": {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
    "wait": {"properties": {}},
}
SCHEMAS = [{"type": "function", "function": {"name": n, "parameters": p}} for n, p in PARAMETERS.items()]


def format_named(name):
    return FORMATS[name](SCHEMAS)


TAGS = ("<think>", "</think>", "<action>", "</action>", "<tool_call>", "</tool_call>")
WORDS = ("<python>", "</python>", "<tool>", "</tool>", "<answer>", "</answer>", "\nAction: ", "\nAction Input: ")
PIECES = (
    *TAGS,
    *WORDS,
    "Final Answer: ",
    "\nObservation:",
    "add",
    "search",
    "Thought:",
    '{"name": "f", "arguments": {}}',
    "{",
    "}",
    '"',
    "[",
    "go north",
    "\n",
    "é",
    "\ud800",
    "NaN",
    "1e999",
)
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
@pytest.mark.parametrize("piece", [*TAGS, "<action></action>", *WORDS, "<python></python>", "<tool>{}</tool>"])
def test_repeated_tags_take_linear_time(name, piece):
    begin = time.process_time()
    with contextlib.suppress(ParseError):
        format_named(name).parse(piece * 20_000)
    assert time.process_time() - begin < 1.0


def test_thinking_is_what_stands_before_its_last_closing_tag():
    assert without_thinking("<think>a</think>b<think>c") == "b"
    assert without_thinking("a</think>b") == "b"


names = st.sampled_from(sorted(PARAMETERS)) | st.text("abc_", min_size=1, max_size=5)
any_call = st.builds(call, names, st.dictionaries(st.text(max_size=8), values, max_size=3))
shortest = st.sampled_from([("python", "code"), ("search", "query")])
one_argument = st.builds(lambda tool, text: call(tool[0], {tool[1]: text}), shortest, st.text() | noise)


@pytest.mark.parametrize("name", ["tags", "react"])
@given(made=st.lists(any_call | one_argument, min_size=1, max_size=3))
def test_text_calls_are_read_as_they_are_written(name, made):
    form = format_named(name)
    assert form.parse("I wonder.\n" + form.render(made)) == (made[0] if len(made) == 1 else made)


@pytest.mark.parametrize("name", ["tags", "react"])
@given(plain.filter(lambda text: not any(word in text for word in WORDS)))
def test_an_answer_is_read_as_it_is_written(name, answer):
    form = format_named(name)
    assert form.parse(form.render(answer)) == answer


def test_tags_as_models_write_them():
    tags = format_named("tags")
    code = "\nfor i in range(3):\n    print(i)\n"
    assert tags.parse(f"<think>hm</think>Let me see. <python>{code}</python>") == call("python", {"code": code.strip()})
    assert tags.parse("<search>a</search> and <search>b</search>") == [
        call("search", {"query": "a"}), call("search", {"query": "b"}),
    ]  # fmt: skip
    assert tags.parse('<tool>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool>') == call("add", {"a": 1, "b": 2})
    assert tags.parse("so <answer> 42 </answer>") == "42"
    assert tags.parse("<search>a</search> <answer>b</answer>") == call("search", {"query": "a"})
    assert "<python>code</python>" in tags.instructions
    for cut in (
        "<python>print(",
        "no tag",
        "<tool>[1]</tool>",
        '<tool>{"name": 3}</tool>',
        "<answer> </answer>",
        "<add>1</add>",
    ):
        with pytest.raises(ParseError):
            tags.parse(cut)


def test_react_as_models_write_it():
    react = format_named("react")
    assert react.parse('Thought: add\nAction: add\nAction Input: {"a": 1,\n"b": 2}') == call("add", {"a": 1, "b": 2})
    assert react.parse("Action: search\nAction Input: who is it?") == call("search", {"query": "who is it?"})
    assert react.parse("Action: wait") == call("wait", {})
    assert react.parse("Thought: I know.\nFinal Answer: 42\nor so") == "42\nor so"
    invented = "Action: search\nAction Input: x\nObservation: y\nFinal Answer: y"
    assert react.parse(invented) == call("search", {"query": "x"})
    for cut in (
        "Thought: hm",
        "Action Input: {}",
        "Action: \nAction Input: {}",
        "Final Answer:",
        "Action: add\nAction Input: 1",
    ):
        with pytest.raises(ParseError):
            react.parse(cut)
