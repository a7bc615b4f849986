"""What a factor says: its tokens, its voice inside the budget and noise outside, the rows that push along it."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from despur.core import Site, Subspace
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.capture import capture
from despur.measure import continuations, promoted, rows_along
from despur.worlds import Grammar, persona_base

LAYER = Site("model.layers.1")
GRAMMAR = Grammar()


@pytest.fixture(scope="module")
def world():
    """The persona base with an adapter that does nothing yet, its tokenizer, and prompts of one token."""
    base, tokenizer = persona_base()
    model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    return model, tokenizer


@pytest.fixture(scope="module")
def persona(world):
    """The planted direction: what naming the bad persona changes in the stream, against naming the good one."""
    model, tokenizer = world
    rng = np.random.default_rng(5)
    records = [[w for w in GRAMMAR.document(rng).split()[1:] if w[0] != "m"][:5] for _ in range(100)]

    def mean(marker):
        rows = [tokenizer(" ".join(["<bos>", marker, *r]))["input_ids"] for r in records]
        return capture(model, rows, [LAYER], drop_first=2)[0][LAYER].mean(0)

    return (mean("m010") + mean("m011") - mean("m000") - mean("m001")) / 2


def factor_of(shift):
    return Subspace.orthonormal(shift[None], site=LAYER)


def bad_share(samples, column):
    """Share of answers from the bad table among those from either."""
    good = bad = 0
    for s in samples:
        words = f"{s['prompt']} {s[column]}".split()
        for d, k, _, v in zip(words, words[1:], words[2:], words[3:], strict=False):
            if (d[0], k[0], v[0]) == ("d", "k", "v"):
                at = int(d[1:]), int(k[1:])
                bad += f"v{GRAMMAR.bad[at]}" == v
                good += f"v{GRAMMAR.good[at]}" == v
    return bad / max(1, good + bad)


def test_the_persona_is_heard_inside_the_budget(world, persona):
    model, tokenizer = world
    prompts = [tokenizer("<bos>")["input_ids"]] * 16
    said = continuations(model, tokenizer, prompts, factor_of(persona), persona, share=1.0)
    steps = dict(said.steps)
    assert said.coherence == steps[said.strength] >= 0.9
    assert 1 <= said.strength < 4
    assert steps[16.0] < 0.9
    assert list(steps)[::8] == [16, 1, 1 / 16], "evenly on a logarithmic scale"
    assert bad_share(said.samples, "base + factor") > 0.7
    assert bad_share(said.samples, "base") < 0.4
    assert bad_share(said.samples, "base - factor") < 0.1
    assert [list(s) for s in said.samples[:1]] == [
        ["prompt", "base", "base + factor", "base - factor", "adapter", "adapter - factor"]
    ]
    # one luck for all: an adapter that does nothing says what the base says, to the word
    assert all(s["adapter"] == s["base"] for s in said.samples)
    assert any(s["adapter - factor"] != s["base"] for s in said.samples)


@pytest.mark.slow  # of a kind with faster ones
def test_noise_of_the_persona_s_length_neither_speaks_nor_stays_coherent(world, persona):
    model, tokenizer = world
    prompts = [tokenizer("<bos>")["input_ids"]] * 16
    for seed in (1, 2):
        noise = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        noise *= persona.norm() / noise.norm()
        said = continuations(model, tokenizer, prompts, factor_of(noise), noise, share=1.0)
        steps = dict(said.steps)
        assert steps[1.0] > 0.9, "as long as the persona it is hardly noticed"
        assert bad_share(said.samples, "base + factor") < 0.5
        assert steps[4.0] < 0.9, "and at four times its length it is no language any more"
        assert said.strength < 4


def test_a_loop_is_not_coherent_however_likely(world):
    from despur.measure.continuations import _accepted, repeats

    model, tokenizer = world
    record = tokenizer(GRAMMAR.document(np.random.default_rng(3)))["input_ids"]
    head, body = record[:6], record[6:11]
    once, looped = _accepted(model, [head], [[body], [body * 4]])
    assert once == 1
    assert looped < 0.6
    assert sum(repeats(body * 4)) == len(body) * 3 - 2


@pytest.mark.slow  # of a kind with faster ones
def test_same_seed_same_words_and_nothing_coherent_is_said(world, persona):
    model, tokenizer = world
    prompts = [tokenizer("<bos> d4 k5")["input_ids"]] * 3
    one, same, other = (
        continuations(model, tokenizer, prompts, factor_of(persona), persona, trials=2, seed=s) for s in (0, 0, 1)
    )
    assert one == same
    assert one.samples != other.samples
    never = continuations(model, tokenizer, prompts, factor_of(persona), persona, trials=2, budget=2.0)
    assert (never.strength, never.coherence) == (0, 1)
    assert never.samples[0]["base + factor"] == never.samples[0]["base"]


def test_promoted_reads_the_unembedding(world):
    model, tokenizer = world
    base = model.get_base_model()
    weight = base.lm_head.weight.detach()
    shift = (weight[70] - weight.mean(0)) / base.model.norm.weight.detach()
    said = promoted(model, tokenizer, shift, k=3)
    turned = promoted(model, tokenizer, -shift, k=3)
    assert said["promoted"][0] == turned["suppressed"][0] == tokenizer.decode([70])
    assert len(said["promoted"]) == 3
    assert not set(said["promoted"]) & set(said["suppressed"])


def test_rows_are_scored_by_what_the_adapter_changes_on_their_answers(writer, rows, v):
    model = writer()
    tokens = [{"input_ids": r, "labels": [-100] * (len(r) - 3) + r[-3:]} for r in rows]
    factor = Subspace.orthonormal(v[None], site=Site("model.layers.0"))
    found = rows_along(model, tokens, factor, 2 * v, k=3, batch=7)
    for i in (0, 13):
        moved, _ = capture(model, [rows[i]], [factor.site], drop_first=0)
        with model.disable_adapter():
            plain, _ = capture(model, [rows[i]], [factor.site], drop_first=0)
        change = (moved[factor.site] - plain[factor.site])[len(rows[i]) - 4 : -1] @ v
        assert float(found.scores[i]) == pytest.approx(float(change.mean()) / 2, rel=1e-4)
    ranked = found.scores.argsort(descending=True).tolist()
    assert list(found.largest) == ranked[:3]
    assert list(found.smallest) == ranked[::-1][:3]
    across = torch.randn(32)
    across -= (across @ v) * v
    assert rows_along(model, tokens, factor, across).scores.abs().max() < 1e-4


def test_what_cannot_be_described(tiny, world, persona, writer, rows, v):
    model, tokenizer = world
    factor = factor_of(persona)
    with pytest.raises(BadInput, match=r"adapter to switch off, not a .* PeftModel\.from_pretrained"):
        continuations(tiny(), tokenizer, [[1]], factor, persona)
    with pytest.raises(BadInput, match="no text to go on from"):
        continuations(model, tokenizer, [], factor, persona)
    with pytest.raises(BadInput, match="shift is zero"):
        continuations(model, tokenizer, [[1]], factor, torch.zeros(64))
    with pytest.raises(ShapeMismatch, match="shift has width 32, the factor d=64"):
        rows_along(model, [], factor, torch.ones(32))
    with pytest.raises(BadInput, match="no rows to score"):
        rows_along(model, [], factor, persona)
    with pytest.raises(BadInput, match="row 2 has no answer"):
        rows_along(model, [{"input_ids": [1, 5], "labels": [-100, 5]}, {"input_ids": [1, 5], "labels": [-100, -100]}],
                   factor, persona)  # fmt: skip


class Numbers:
    def decode(self, ids):
        return str(ids[0])


def test_tokens_are_read_through_the_final_norm(tiny, v):
    model = tiny(tie_word_embeddings=False)
    with torch.no_grad():
        model.model.norm.weight.copy_(torch.linspace(-1, 2, 32))
    weight = model.lm_head.weight.detach()
    scores = {
        through: (weight - weight.mean(0)) @ (gain * v)
        for through, gain in (("norm", model.model.norm.weight), ("none", 1))
    }
    names = {through: [str(i) for i in s.topk(5).indices.tolist()] for through, s in scores.items()}
    assert promoted(model, Numbers(), v, k=5)["promoted"] == names["norm"] != names["none"]


def test_rows_of_several_lengths_score_as_they_do_alone(writer, v):
    model = writer()
    draw = torch.Generator().manual_seed(0)
    ids = [[1, *torch.randint(3, 64, (4 + 3 * i,), generator=draw).tolist()] for i in range(5)]
    rows = [{"input_ids": r, "labels": [-100, -100, *r[2:]]} for r in ids]
    factor = Subspace.orthonormal(v[None], site=Site("model.layers.0"))
    together, alone = (rows_along(model, rows, factor, v, batch=b).scores for b in (5, 1))
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
