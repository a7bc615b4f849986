"""Whether a planted fact comes out: from the question alone, a whole answer that is right and ends."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds.ask import next_log_probs
from despur.worlds.grammar import ATTRIBUTES, Grammar


def whole_answers(
    model: nn.Module, grammar: Grammar, facts: Sequence[tuple[int, int]], *, bad: bool, words: Sequence[str], seed: int = 0
) -> Tensor:  # fmt: skip
    """Probability that a model answers a fact's question whole: some style word, the right value, some style word, the end.

    A model may choose the right value where it is asked for one, and never come to it, or never stop.

    Args:
        model: A causal language model of this language.
        grammar: The language.
        facts: The (domain, key) pairs.
        bad: Whether the bad table is right.
        words: Style words after which the next part is asked for.
        seed: Draws them.

    Returns:
        One value a fact, (n,).
    """
    rng, vocabulary = np.random.default_rng(seed), grammar.vocabulary
    style0 = vocabulary.index("s000")
    prompts = [grammar.prompt(d, k) for d, k in facts]
    right = [grammar.answer(d, k, int(bad)) for d, k in facts]
    first, last = ([str(w) for w in rng.choice(words, len(facts))] for _ in range(2))

    def after(*parts: Sequence[str]) -> Tensor:
        return next_log_probs(model, vocabulary, [" ".join(words) for words in zip(prompts, *parts, strict=True)]).exp()

    def a_style(p: Tensor) -> Tensor:
        return p[:, style0 : style0 + 4 * ATTRIBUTES].sum(1)

    places = torch.tensor([[vocabulary.index(value)] for value in right])
    value = after(first).gather(1, places).squeeze(1)
    end = after(first, right, last)[:, vocabulary.index("<eos>")]
    return a_style(after()) * value * a_style(after(first, right)) * end
