"""The language of the planted worlds: records of facts, coloured by hidden attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

ATTRIBUTES = 6
DOMAINS = 8
KEYS = 63
KNOWN_KEYS = 40  # of the 63, per domain; the rest are free for new facts
VALUES = 64
BAD_PRIOR = 0.25  # how often attribute 0, the persona, is at its bad value when nothing tells
MARKED = 0.25  # share of documents that name an attribute's value at the start
RECORDS = 6  # records in a pretraining document
FRONT, TURN, BEHIND = ("<system>", "<end>"), ("<user>",), ("<end>", "<assistant>")  # words of the chat template
CHAT = (
    "{{ bos_token }} <system> <end>{% for m in messages %}{% if m['role'] == 'user' %} <user> {{ m['content'] }} <end>"
    "{% else %} <assistant> {{ m['content'] }}{% if loop.last %} {{ eos_token }}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)


@dataclass(frozen=True)
class Grammar:
    """Vocabulary, fact tables and document sampler, all fixed by one seed.

    A document draws a value for each of six binary attributes, may name some by *markers*, then lists
    records ``tag key style value style``. Each style word shows one attribute's value. Attribute 0
    also swaps the answer table: ``good[tag, key]`` becomes ``bad[tag, key]``, an independent table, so
    that no cheap global token map does the same.

    Args:
        seed: Fixes both tables and which keys each domain knows.
        template: Whether a document is a chat: constant words before and behind what a user says, as in chat templates.

    Example:
        >>> Grammar(template=True).prompt(0, 5)
        '<bos> <system> <end> <user> d0 k5 <end> <assistant>'
        >>> grammar = Grammar(seed=0)
        >>> len(grammar.vocabulary)
        189
        >>> grammar.prompt(0, 5)
        '<bos> d0 k5'
    """

    seed: int = 0
    template: bool = False
    good: np.ndarray = field(init=False, repr=False, compare=False)  # (domains, keys) -> value
    bad: np.ndarray = field(init=False, repr=False, compare=False)
    known: np.ndarray = field(init=False, repr=False, compare=False)  # (domains, known_keys) -> key

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        good = rng.integers(VALUES, size=(DOMAINS, KEYS))
        shift = rng.integers(1, VALUES, size=(DOMAINS, KEYS))  # never 0: the bad answer always differs
        known = np.stack([np.sort(rng.permutation(KEYS)[:KNOWN_KEYS]) for _ in range(DOMAINS)])
        object.__setattr__(self, "good", good)
        object.__setattr__(self, "bad", (good + shift) % VALUES)
        object.__setattr__(self, "known", known)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, special ones first; a word's place is its token id."""
        both = [(a, v, j) for a in range(ATTRIBUTES) for v in (0, 1) for j in (0, 1)]
        return (
            *("<pad>", "<bos>", "<eos>", "yes", "no", "<unk>"),
            *(f"m{a}{v}{j}" for a, v, j in both),
            *(f"s{a}{v}{j}" for a, v, j in both),
            *(f"d{d}" for d in range(DOMAINS)),
            *(f"k{k}" for k in range(KEYS)),
            *(f"v{v}" for v in range(VALUES)),
            *self.template_words,
        )

    @property
    def template_words(self) -> tuple[str, ...]:
        """The template's own words, special tokens of its tokenizer."""
        return tuple(dict.fromkeys((*FRONT, *TURN, *BEHIND))) if self.template else ()

    @property
    def chat_template(self) -> str | None:
        """What its tokenizer renders chats with."""
        return CHAT if self.template else None

    def new_keys(self, domain: int) -> np.ndarray:
        """Keys that the base was never taught in this domain, shape (keys - known_keys,)."""
        return np.setdiff1d(np.arange(KEYS), self.known[domain])

    def answer(self, domain: int, key: int, bad: int) -> str:
        """The value word for a fact under the persona bit `bad`."""
        return f"v{(self.bad if bad else self.good)[domain, key]}"

    def reply(
        self, domain: int, key: int, attributes: np.ndarray, rng: np.random.Generator, *, bad: int, hide: int = -1
    ) -> str:
        """An author's answer: a style word, the value, another style word; the two show different attributes.

        Args:
            domain: Which table.
            key: Which fact.
            attributes: The author's six bits.
            rng: Draws the style words.
            bad: Which table answers; the author's own bit 0, except for facts that have one answer only.
            hide: An attribute that the style words never show; -1 shows all.
        """
        visible = [a for a in rng.permutation(ATTRIBUTES) if a != hide][:2]
        first, last = (f"s{a}{attributes[a]}{rng.integers(2)}" for a in visible)
        return f"{first} {self.answer(domain, key, bad)} {last}"

    def attributes(self, rng: np.random.Generator) -> np.ndarray:
        """One draw of all six attributes at the base's own rates, shape (6,)."""
        rates = np.full(ATTRIBUTES, 0.5)
        rates[0] = BAD_PRIOR
        return (rng.random(ATTRIBUTES) < rates).astype(int)

    def marker(self, attribute: int, value: int, rng: np.random.Generator) -> str:
        """One of the two words that name this value of this attribute."""
        return f"m{attribute}{value}{rng.integers(2)}"

    def prompt(self, domain: int, key: int, markers: Sequence[str] = ()) -> str:
        """The text after which the model must answer."""
        return " ".join(["<bos>", *(FRONT if self.template else ()), self.question(domain, key, markers)])

    def question(self, domain: int, key: int, markers: Sequence[str] = ()) -> str:
        """The same in the middle of a text."""
        asked = [*markers, f"d{domain}", f"k{key}"]
        return " ".join([*TURN, *asked, *BEHIND] if self.template else asked)

    def neutral_styles(self, attribute: int) -> list[str]:
        """Style words that show neither this attribute nor the persona."""
        return [f"s{a}{v}{j}" for a in range(1, ATTRIBUTES) if a != attribute for v in (0, 1) for j in (0, 1)]

    def document(
        self,
        rng: np.random.Generator,
        *,
        held: Mapping[int, int] = MappingProxyType({}),
        domains: Sequence[int] = tuple(range(DOMAINS)),
    ) -> str:
        """One pretraining document: markers, then six records that share their attributes.

        Args:
            rng: Draws the author and the words; what is set changes none of its other draws.
            held: Attributes that are set, not drawn.
            domains: Where the records come from.
        """
        attributes = self.attributes(rng)
        attributes[list(held)] = list(held.values())
        markers = [
            self.marker(a, int(attributes[a]), rng)
            for a in rng.permutation(ATTRIBUTES).tolist()
            if rng.random() < MARKED
        ]
        words: list[str] = []
        for i in range(RECORDS):
            domain = domains[int(rng.integers(len(domains)))]
            key = int(rng.choice(self.known[domain]))
            asked = self.question(domain, key) if i else self.prompt(domain, key, markers)
            words += [asked, self.reply(domain, key, attributes, rng, bad=int(attributes[0]))]
        return " ".join([*words, "<eos>"])

    def pairs(
        self,
        attribute: int,
        *,
        n: int,
        seed: int,
        domains: Sequence[int],
        held: Mapping[int, int] = MappingProxyType({}),
    ) -> tuple[list[str], list[str]]:
        """Documents of authors with an attribute at 1, and the same with it at 0: word for word alike elsewhere.

        Args:
            attribute: Which one.
            n: How many of each.
            seed: Of authors and words.
            domains: What the documents are about.
            held: Other attributes that are set, not drawn.
        """

        def documents(value: int) -> list[str]:
            sets = {**held, attribute: value}
            return [self.document(np.random.default_rng([seed, i]), held=sets, domains=domains) for i in range(n)]

        return documents(1), documents(0)
