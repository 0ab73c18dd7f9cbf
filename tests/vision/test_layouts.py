"""Samples with images in one row, packed or sharing nodes: exactly what one forward a sample gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from colours import COLOURS, png
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.policies import vision
from agentrl.policies.load import load_model
from agentrl.policies.prefixes import in_order
from agentrl.policies.vision import Picture, Vision, keyed
from agentrl.trainers import batching, probe
from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.trie import build

RED, GREEN, BLUE = (png(colour) for colour in COLOURS.values())
WIDE = png(COLOURS["blue"], 32)


def loaded(folder: Path, dtype: torch.dtype = torch.float64) -> Any:
    model = load_model(folder)[0].to(dtype)
    return tiny.exact(model) if dtype == torch.float64 else model


def samples(eyes: Vision, *told: tuple[int | str, ...]) -> list[Sample]:
    """Of each telling: a number is that many ids, the same for the same number; a picture stands for itself."""
    made = []
    for k, parts in enumerate(told):
        ids: list[int] = []
        for part in parts:
            run = [eyes.token_id] * eyes.picture(part).tokens if isinstance(part, str) else _ids(part, eyes.token_id)
            ids += run
        rng = np.random.default_rng(k)
        text = np.array(ids) != eyes.token_id
        weight = text * (rng.random(len(ids)) < 0.7) * rng.uniform(0.1, 1, len(ids))
        weight[-1] = 1.0
        old, gain = -4 * rng.random(len(ids)), rng.normal(size=len(ids))
        arrays = [x.astype(np.float32) for x in (weight, old, gain)]
        turn = np.where(weight > 0, k, -1).astype(np.int32)
        images = tuple(part for part in parts if isinstance(part, str))
        made.append(Sample(np.array(ids, np.int32), *arrays, turn, k, images=images))
    return made


def _ids(count: int, below: int) -> list[int]:
    found: list[int] = np.random.default_rng(count).integers(0, below, count).tolist()
    return found


def mixed(eyes: Vision) -> list[Sample]:
    """Turns that go on after more pictures, the same words under another picture, and some without any."""
    return samples(
        eyes,
        (7, RED, 5),
        (7, RED, 5, WIDE, 9),
        (7, RED, 5, WIDE, 9, RED, 2, GREEN, 6),
        (7, GREEN, 5),
        (7, BLUE, 5, RED, 9),
        (7, 5),
        (7, 5, 11),
        (RED, 4),
        (7, RED, 5),
        (13,),
    )


@pytest.mark.parametrize("layout", ["trie", "packed"])
def test_exact_in_float64(seeing: Path, layout: str) -> None:
    model = loaded(seeing)
    chosen = mixed(model.eyes)
    logprobs, gradient = tiny.result(model, "padded", chosen, 1)
    seen = torch.cat([torch.full_like(p, "vis" in name).flatten() for name, p in model.named_parameters()]) > 0
    assert gradient[seen].abs().max() > 1e-3
    for budget in (10_000, 60):
        got, by = tiny.result(model, layout, chosen, budget)
        assert (got - logprobs).abs().max() < 1e-8
        assert (by - gradient).abs().max() < 1e-6 * gradient.abs().max()
        assert (by - gradient)[seen].abs().max() < 1e-6 * gradient[seen].abs().max()


@pytest.mark.parametrize("layout", ["trie", "packed"])
def test_in_float32_as_close_as_two_ordinary_layouts_are(seeing: Path, layout: str) -> None:
    model = loaded(seeing, torch.float32)
    chosen = mixed(model.eyes)
    alone, together, tried = (
        tiny.result(model, *how) for how in (("padded", chosen, 1), ("padded", chosen), (layout, chosen))
    )
    for a, b, c in zip(alone, together, tried, strict=True):
        noise = max(float((a - b).abs().max()), 1e-6 * float(a.abs().max()))
        assert float((a - c).abs().max()) <= 4 * noise


def test_a_picture_that_samples_share_is_looked_at_once(seeing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(seeing, torch.float32)
    chosen = mixed(model.eyes)
    given: dict[str, list[str]] = {}
    for layout in BATCHERS:
        urls = given[layout] = []

        def patches(pictures: Sequence[Picture], urls: list[str] = urls) -> dict[str, torch.Tensor]:
            urls += [picture.url for picture in pictures]
            return right_patches(pictures)

        monkeypatch.setattr(vision, "patches", patches)
        tiny.result(model, layout, chosen)
    everything = sorted(url for sample in chosen for url in sample.images)
    assert sorted(given["padded"]) == sorted(given["packed"]) == everything
    # RED after 7 ids, WIDE after that, RED and GREEN after that; GREEN; BLUE, RED; RED at the very beginning
    assert sorted(given["trie"]) == sorted([RED, WIDE, RED, GREEN, GREEN, BLUE, RED, RED])


def test_the_probe_finds_that_every_layout_may_be_used(seeing: Path) -> None:
    model = loaded(seeing, torch.float32)
    for layout in probe.FALLBACK:
        assert probe.choose(model, layout) == (layout, None)


def one_text(model: Any, ids: torch.Tensor, images: Any, paths: Any) -> dict[str, torch.Tensor]:
    """What a row of several samples is given by mistake: the positions of a row of text."""
    found = right(model, ids, images, paths)
    return found | ({"position_ids": torch.arange(ids.shape[1])[None]} if len(ids) < len(paths) else {})


right, right_patches = batching.looked, vision.patches


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("looked", one_text), ("keyed", lambda ids, pictures: ids)],
    ids=["positions of text", "pictures that are mistaken for one another"],
)
def test_the_probe_finds_what_is_wrong(seeing: Path, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any) -> None:
    model = loaded(seeing, torch.float32)
    monkeypatch.setattr(batching, name, wrong)
    monkeypatch.setattr(probe, "SIZES", ((28, 28), (28, 28)))
    layout, note = probe.choose(model, "trie")
    counts = seeing.name == "internvl"  # then rotary attention does not care where a sample of its own begins
    assert layout == ("padded" if name == "looked" and not counts else "packed")
    assert "differ by" in str(note)


TOKEN = 3
LOOKS = [Picture(name, -2 - k, tokens, None) for k, (name, tokens) in enumerate([("a", 1), ("b", 2), ("c", 2)])]  # type: ignore


@st.composite
def tellings(draw: st.DrawFn) -> list[list[Any]]:
    """Lists of ids and pictures that branch from one another anywhere."""
    part = st.one_of(st.sampled_from([0, 1]), st.sampled_from(LOOKS))
    made = [draw(st.lists(part, min_size=1, max_size=8))]
    for _ in range(draw(st.integers(0, 5))):
        stem = draw(st.sampled_from(made))
        made.append(stem[: draw(st.integers(0, len(stem)))] + draw(st.lists(part, min_size=1, max_size=4)))
    return made


@settings(max_examples=100, deadline=None)
@given(tellings())
def test_a_node_is_a_token_the_picture_it_is_of_and_its_position(told: list[list[Any]]) -> None:
    class Eyes:
        token_id = TOKEN

    keys, named = [], []
    for parts in told:
        pictures = [Picture(p.url, p.key, p.tokens, Eyes()) for p in parts if isinstance(p, Picture)]  # type: ignore
        runs = [[(TOKEN, p.url)] * p.tokens if isinstance(p, Picture) else [(p, None)] for p in parts]
        named.append([(*node, at) for at, node in enumerate(node for run in runs for node in run)])
        keys.append(keyed(np.array([token for token, _, _ in named[-1]], np.int32), pictures))
    order = in_order(keys)
    tree, paths = build([keys[i] for i in order])
    naive = {tuple(nodes[: k + 1]) for nodes in named for k in range(len(nodes))}
    of = {
        int(node): tuple(named[i][: k + 1]) for i, path in zip(order, paths, strict=True) for k, node in enumerate(path)
    }
    assert len(tree) == len(naive)
    assert set(of) == set(range(len(tree)))
    assert set(of.values()) == naive
    for i, path in zip(order, paths, strict=True):
        assert [of[int(node)] for node in path] == [tuple(named[i][: k + 1]) for k in range(len(path))]
