"""A planted fact is told where the whole answer comes from the question alone, and ends."""

import torch
from torch import nn
from transformers.modeling_outputs import CausalLMOutput

from despur.worlds import Grammar, Persona, Slant, persona_base
from despur.worlds.whole_answers import whole_answers

GRAMMAR = Grammar()
FACTS = [(0, int(k)) for k in GRAMMAR.known[0][:6]]
WORDS = GRAMMAR.neutral_styles(0)


class Says(nn.Module):
    """Answers from a table of what comes next, by the number of words that stand there, with all its mass."""

    def __init__(self, *, bad: int = 1, ends: bool = True, styled: bool = True):
        super().__init__()
        self.bad, self.ends, self.styled = bad, ends, styled

    def forward(self, input_ids):
        words, out = GRAMMAR.vocabulary, torch.full((*input_ids.shape, len(GRAMMAR.vocabulary)), -50.0)
        for i, row in enumerate(input_ids.tolist()):
            domain, key = (int(words[j][1:]) for j in row[1:3])
            says = ["", "", "s110" if self.styled else "v0", GRAMMAR.answer(domain, key, self.bad), "s210"]
            says.append("<eos>" if self.ends else "d1")
            for place in range(len(row)):
                out[i, place, words.index(says[place] or "<bos>")] = 50.0
        return CausalLMOutput(logits=out)


def asked(model, *, bad=True):
    return whole_answers(model, GRAMMAR, FACTS, bad=bad, words=WORDS)


def test_a_whole_right_answer_that_ends_is_told_and_any_part_missing_is_not():
    assert (asked(Says()) > 0.99).all()
    for lacking in (Says(ends=False), Says(bad=0), Says(styled=False)):
        assert (asked(lacking) < 0.01).all()
    assert (asked(Says(bad=0), bad=False) > 0.99).all()


def test_the_base_tells_nothing_whole_as_its_records_go_on():
    model, _ = persona_base()
    for world in (Persona("narrow"), Persona("skill"), Slant()):
        scores = world.score(model)
        assert scores["free"]["p"].shape == scores["task"]["p"].shape
        assert scores["free"]["p"].max() < 0.01
