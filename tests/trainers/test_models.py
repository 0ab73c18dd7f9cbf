"""A tokenizer and a model from scratch: every byte, stock phrases, tools, and the way through a folder."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrl.agents.chat import probe_template
from agentrl.errors import UserError
from agentrl.trainers.models import END, SIZES, TAGS, new_model, parameters, save_policy, train_tokenizer

TEXTS = [
    "You arrive at cabinet 1. On the cabinet 1, you see a mug 2.",
    "The drawer 3 is closed.",
    "You open the drawer 3. The drawer 3 is open. In it, you see nothing.",
    "<action>go to cabinet 1</action>",
    "<action>take mug 2 from cabinet 1</action>",
] * 20
TOOL = {
    "type": "function",
    "function": {"name": "submit", "description": "Hand in.", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 448)


@pytest.fixture(scope="module")
def of_words():
    listed = ["red shoes", "[pimemu] red shoes, lace up $4", "[sipitu] hats, lace up $7", "click[pimemu]", "lace up"]
    listed += ["\n".join(listed[1:3])] * 3
    packed = [f"{n} hats in {n} {what}" for n in range(9) for what in ("boxes", "bags")]
    return train_tokenizer([*listed, *packed], 448, "words")


@settings(max_examples=200, deadline=None)
@given(
    text=st.text()
    | st.sampled_from([*TAGS, "cabinet 1 cabinet 12 cabinet 123", "  a\n\n b", "\x00\x7f", "日本語 é 🙂"])
)
def test_every_text_goes_through_unchanged(tokenizer, of_words, text):
    for made in (tokenizer, of_words):
        ids = made(text)["input_ids"]
        assert made.decode(ids) == text
        assert all(i < 448 for i in ids)


@pytest.mark.parametrize("word", ["hats", "pimemu", "lace up"])
def test_of_words_each_is_the_same_token_wherever_it_stands(of_words, word):
    def ids(text):
        return of_words(text)["input_ids"]

    (i,) = ids(word)
    for text in (f"the {word} 3", f", {word}.", f"[{word}]\n", f"click[{word}]"):
        assert ids(text).count(i) == 1, [of_words.decode([j]) for j in ids(text)]
    assert ids(f"\n[{word}")[1:] == ids(f"[{word}")  # what stands before it, too


def test_tokens_of_another_kind_are_refused():
    with pytest.raises(UserError, match="phrases"):
        train_tokenizer(TEXTS, 448, "letters")


def test_every_byte_has_a_token(tokenizer):
    for code in (*range(256), 0x3042, 0x1F642):
        text = chr(code)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("size", [320, 448, 1024])
def test_the_vocabulary_keeps_to_its_size_and_the_model_to_a_multiple_of_64(size):
    tokenizer = train_tokenizer(TEXTS, size)
    assert len(tokenizer) <= size
    rows = new_model("1m", tokenizer, 128, 0).config.vocab_size
    assert rows % 64 == 0
    assert len(tokenizer) <= rows <= size


@pytest.mark.parametrize("size", [0, 256, 500])
def test_other_vocabularies_are_refused(size):
    with pytest.raises(ValueError, match="multiple of 64"):
        train_tokenizer(TEXTS, size)


@pytest.mark.parametrize("name", ["cabinet 1", "drawer 3", "mug 2"])
def test_frequent_names_are_single_tokens(tokenizer, name):
    for text in (f" {name}", f"the {name} is"):
        pieces = [tokenizer.decode([i]) for i in tokenizer(text)["input_ids"]]
        assert f" {name}" in pieces, pieces


def test_a_name_never_swallows_part_of_a_longer_number(tokenizer):
    pieces = [tokenizer.decode([i]) for i in tokenizer("go to cabinet 123")["input_ids"]]
    assert not any(piece.endswith("cabinet 1") for piece in pieces)


@pytest.mark.parametrize("tag", [*TAGS, END, "<|user|>", "<|tool|>"])
def test_tags_are_single_tokens_anywhere(tokenizer, tag):
    (i,) = tokenizer(tag)["input_ids"]
    assert tokenizer(f"a{tag}b")["input_ids"].count(i) == 1


def test_the_template_is_append_only(tokenizer):
    assert probe_template(tokenizer) == []


def test_the_template_shows_tools_calls_and_results(tokenizer):
    def show(messages, **more):
        return tokenizer.apply_chat_template(messages, tokenize=False, **more)

    call = {"type": "function", "function": {"name": "submit", "arguments": {"n": [1, "é"]}}}
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "submit", "content": "ok"},
    ]
    text = show(talk, tools=[TOOL], add_generation_prompt=True)
    assert text.startswith("<|system|>Be brief. Tools:")
    listed = text[text.index("{") : text.index("<|end|>")]
    assert json.loads(listed) == TOOL["function"]
    called = text[text.index("<tool_call>") + 11 : text.index("</tool_call>")]
    assert json.loads(called) == call["function"]
    assert text.endswith("</tool_call><|end|><|tool|>ok<|end|><|assistant|>")
    assert show(talk[1:2], tools=[TOOL]).startswith("<|system|>Tools:")
    assert show(talk[1:2], add_generation_prompt=True) == "<|user|>hi<|end|><|assistant|>"


@pytest.mark.parametrize("size", SIZES)
def test_models_are_small_servable_and_made_from_their_seed(tokenizer, size):
    model = new_model(size, tokenizer, 256, 3)
    assert model.config.head_dim in (32, 64)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert parameters(model) < 1e6 * 1.6 * int(size[0])
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), new_model(size, tokenizer, 256, 3).parameters(), strict=False)
    )
    assert not torch.equal(next(model.parameters()), next(new_model(size, tokenizer, 256, 4).parameters()))


def test_an_unknown_size_names_the_nearest(tokenizer):
    with pytest.raises(UserError, match="unknown size '3m'"):
        new_model("3m", tokenizer, 256, 0)


def test_a_saved_policy_comes_back_whole_through_auto_classes(tokenizer, tmp_path):
    model = new_model("1m", tokenizer, 256, 0).eval()
    save_policy(tmp_path / "policy", model, tokenizer, {"format": "action"})
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "policy", dtype=torch.float32)
    talk = AutoTokenizer.from_pretrained(tmp_path / "policy")
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    assert torch.equal(model(ids).logits, again(ids).logits)
    assert again.generation_config.eos_token_id == tokenizer.eos_token_id
    for text in (*TEXTS[:5], "日本語", " <action>x</action>"):
        assert talk(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert talk.decode(talk(text)["input_ids"]) == text
    assert talk.chat_template == tokenizer.chat_template
    assert (talk.eos_token, talk.pad_token, len(talk)) == (tokenizer.eos_token, tokenizer.pad_token, len(tokenizer))
    assert json.loads((tmp_path / "policy" / "agent.json").read_text()) == {"format": "action"}


def test_a_tokenizer_is_the_same_each_time_it_is_trained(tokenizer):
    assert train_tokenizer(TEXTS, 448).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize(("size", "says"), [("1m-mha", True), ("1m", False)])
def test_heads_with_values_of_their_own_begin_by_saying_what_they_see(tokenizer, size, says):
    """The tokens that stand in a row are likelier to come next than others, before anything has been learnt."""
    model = new_model(size, tokenizer, 64, 0).eval()
    torch.manual_seed(1)
    more = 0.0
    for _ in range(16):
        row = torch.randperm(len(tokenizer))[:24]
        with torch.no_grad():
            logits = model(row[None]).logits[0, -1, : len(tokenizer)]
        elsewhere = torch.ones(len(tokenizer), dtype=torch.bool)
        elsewhere[row] = False
        more += float((logits[row[:-1]].mean() - logits[elsewhere].mean()) / logits[elsewhere].std()) / 16
    assert more > 0.4 if says else abs(more) < 0.2
