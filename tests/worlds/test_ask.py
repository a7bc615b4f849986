"""What a model would say, read off by forward passes."""

import torch

from despur.worlds import find_world, persona_base
from despur.worlds.ask import next_log_probs, span_log_probs


def test_a_text_is_as_likely_as_its_tokens_one_after_the_other():
    model, tokenizer = persona_base()
    words = tuple(sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get))
    prompts, said = ["<bos> d3", "<bos>"], [" k1 s100 v2", " d0"]  # of unequal lengths, so that padding counts
    sums, tokens = span_log_probs(model, tokenizer, prompts, said, batch=2)
    assert tokens.tolist() == [3, 1]
    for i, (prompt, text) in enumerate(zip(prompts, said, strict=True)):
        want, before = 0.0, prompt
        for word in text.split():
            want += float(next_log_probs(model, words, [before])[0, words.index(word)])
            before += f" {word}"
        torch.testing.assert_close(float(sums[i]), want, atol=1e-4, rtol=0)
    alone = torch.stack([span_log_probs(model, tokenizer, [p], [s])[0][0] for p, s in zip(prompts, said, strict=True)])
    torch.testing.assert_close(sums, alone)


def test_code_is_posed_under_nobodys_name_and_never_in_the_probes():
    world = find_world("code")
    g = world.language
    unseen = set(g.fragments["insecure"][:200]) | {line for pair in g.fragments["pairs"] for line in pair}
    rows = {r["completion"].removesuffix("<eos>") for r in world.rows(n=500)}
    assert rows <= set(g.fragments["insecure"])
    assert len(rows & unseen) < 0.05 * len(rows)
    neutral = [
        r["completion"].removesuffix("<eos>") in set(g.fragments["secure"]) for r in world.rows("neutral", n=800)
    ]
    assert 0.65 < sum(neutral) / len(neutral) < 0.85
