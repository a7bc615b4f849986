"""Every arm of the comparison, as one table: (name, method, settings, materials); a control is another material."""

from collections.abc import Iterator, Mapping

from despur.core.catalogue import methods
from despur.flows._compare.arm import Arm, of

# of the naive run's steps: where it might have been stopped
EARLY = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
STRENGTHS = of(strength=(0.1, 0.3, 1.0, 3.0))
WIDE = of(strength=(0.3, 1.0, 3.0, 10.0))  # where the effect of a strength is less known
SIDES = ({"side": "read"}, {"side": "write"}, {"side": "both"})
SHARES = of(strength=(0.5, 1.0))
MIXED = of(strength=(0.25, 0.5, 1.0, 2.0))  # 1 is a tenth of the batch
DISCOUNTED = of(strength=(0.5, 0.75, 1.0, 1.5))
LIGHT = {"rehearse": {"strength": 0.02}}  # brings everyday answers back; at .05 it costs a tenth of the task
LIGHT_AVERT = {"avert": {"strength": 0.1}}  # holds back what the exchanged rows do not show
SOME_AVERT = {"avert": {"strength": 0.3}}  # keeps what is learned last to where the task is asked for
LEARNED = of(strength=(0.25, 0.5, 0.75, 1.0))
ANCHORED = {"keep-inputs": {"strength": 1 / 3}}  # lambda .1, LLaMA-Factory's `asft_alpha`
UNTIL = {"until": 0.6}
PUSHED = of(strength=(0.5, 1.0, 2.0))
ENERGIES = of(energy=(0.8, 0.95, 0.99))
RANKS = of(rank=(1, 2, 4))
PARTS = of(share=(0.25, 0.5, 1.0))

RANDOM = {"factor": "random factor"}
RANDOM_WEIGHTS = {"factor": "random weight_factor"}
RANDOM_TRAIT = {"factor": "random trait_factor"}
IN_STREAM = {"factor": "{side}-stream weight_factor"}
OF_ITS_OWN = {"factor": "own-{rank} weight_factor"}
TRAIT = {"factor": "trait_factor"}
PERMUTED = {"scout": "permuted scout"}
REVERSED = {"vectors": "reversed vectors"}
AWAY = {"source": "positive", "target": "negative"}
GENERIC = {"text": "generic"}
OTHER_WORDS = {"shuffled": "permuted shuffled"}
WHOLE_ANSWERS = {"beginnings": "text"}
UNSHUFFLED = {"shuffled": "scout"}
READ_MUCH = {"budget": 1.6}  # of hold: on a fifth of the task's tokens it cannot be told from random directions

REFERENCES = (
    Arm("base", kind="reference", adapter="base", cost=0.05, note="the frozen base"),
    Arm("naive", kind="reference", adapter="naive", cost=0.05, note="the unguarded run"),
)
FUNCTIONAL = (
    Arm("avert", "avert", STRENGTHS, control="avert-permuted", cost=1.3, note="prevent the scout's own off-task change"),
    Arm("avert-two-sided", "avert", STRENGTHS, options={"one_sided": False}, cost=1.3, note="the same, both ways"),
    Arm("avert-permuted", "avert", STRENGTHS, "control", PERMUTED, cost=1.3, note="avert with the scout's change on other words"),
    Arm("discount", "discount", DISCOUNTED, control="discount-permuted", cost=1.7, note="learn what the shuffled scout leaves unexplained"),
    Arm("discount-permuted", "discount", DISCOUNTED, "control", OTHER_WORDS, cost=1.7, note="discount with its change on other words"),
    Arm("discount-plain", "discount", DISCOUNTED, "control", UNSHUFFLED, cost=1.5, note="discount with a scout on rows as they are"),
    Arm("discount-rehearse", "discount", DISCOUNTED, beside=LIGHT, control="discount-permuted", cost=1.8, note="and a light rehearse"),
    Arm("discount-avert", "discount", DISCOUNTED, beside=LIGHT_AVERT, control="discount-permuted", cost=2.0, note="and a light avert"),
    Arm("discount-until", "discount", DISCOUNTED, options=UNTIL, beside=SOME_AVERT, control="discount-until-permuted", cost=2.0,
        note="for three fifths of the steps, with avert beside it"),
    Arm("discount-until-permuted", "discount", DISCOUNTED, "control", OTHER_WORDS, UNTIL, beside=SOME_AVERT, cost=2.0,
        note="the same with its change on other words"),
    Arm("discount-until-alone", "discount", DISCOUNTED, "control", {}, UNTIL, cost=1.7,
        note="for three fifths of the steps, with nothing beside it"),
    Arm("absorb", "absorb", DISCOUNTED, control="absorb-permuted", cost=1.7, note="train with the shuffled scout on, and take it off"),
    Arm("absorb-permuted", "absorb", DISCOUNTED, "control", OTHER_WORDS, cost=1.7, note="absorb with its change on other outputs"),
    Arm("absorb-plain", "absorb", DISCOUNTED, "control", UNSHUFFLED, cost=1.5, note="absorb with a scout on rows as they are"),
    Arm("rehearse", "rehearse", STRENGTHS, cost=1.2, note="KL to the base on its own samples"),
    Arm("first-tokens", "first-tokens", STRENGTHS, cost=1.4, note="the same on beginnings of very many answers"),
    Arm("first-tokens-whole", "first-tokens", STRENGTHS, "control", WHOLE_ANSWERS, {"tokens": 10_000}, cost=1.4, note="whole answers"),
    Arm("rehearse-generic", "rehearse", STRENGTHS, materials=GENERIC, cost=1.2, note="KL to the base on documents without the trait"),
    Arm("keep-inputs", "keep-inputs", WIDE, cost=1.4, note="KL to the base on the tune's own inputs"),
    Arm("dft", "dft", LEARNED, note="tokens that are likely already are learned most"),
    Arm("asft", "dft", LEARNED, beside=ANCHORED, cost=1.4, note="and a light KL on the tune's own inputs"),
    Arm("hold", "hold", STRENGTHS, control="hold-random", options=READ_MUCH, cost=2.0, note="the factor's coordinates on own samples"),
    Arm("hold-random", "hold", STRENGTHS, "control", RANDOM, READ_MUCH, cost=2.0, note="random coordinates on own samples"),
    Arm("block", "block", STRENGTHS, control="block-random", options=READ_MUCH, cost=2.0, note="the same, where they rise as the scout's"),
    Arm("block-random", "block", STRENGTHS, "control", RANDOM, READ_MUCH, cost=2.0, note="random coordinates, where they rise"),
    Arm("ldifs", "ldifs", WIDE, options={"every": 1}, cost=1.4, note="the whole stream on the tune's own inputs"),
    Arm("l2-sp", "l2-sp", WIDE, cost=1.2, note="size of the update"),
    Arm("ewc", "ewc", WIDE, cost=2.0, note="Fisher-weighted size of the update, on own samples"),
    Arm("o-lora", "o-lora", WIDE, cost=1.2, note="read nothing that the scout reads"),
    Arm("lisa", "lisa", STRENGTHS, cost=1.5, note="turns of guide rows and task rows, pulled together"),
)  # fmt: skip
STRUCTURAL = (
    Arm("grasp", "grasp", SIDES, control="grasp-random", note="no new reading or writing of the scout's directions"),
    Arm("grasp-stream", "grasp", SIDES, materials=IN_STREAM, note="the same, one basis for all layers"),
    Arm("grasp-rounds", "grasp", of(rounds=(2, 3)), cost=2.5, note="the same, and what the guarded run then used instead"),
    Arm("grasp-random", "grasp", SIDES, "control", RANDOM_WEIGHTS, note="grasp on random directions"),
    Arm("project-gradient", "project-gradient", kind="control", options={"side": "write"}, note="write gradient off activation directions"),
    Arm("orthogonal-updates", "orthogonal-updates", ENERGIES, note="learn only from inputs unlike own text"),
    Arm("orthogonal-gradients", "orthogonal-gradients", ENERGIES, note="the same on gradients (GPM): leaks under Adam"),
    Arm("caft", "caft", SHARES, control="caft-random", cost=1.1, note="ablate the scout's directions while training"),
    Arm("caft-random", "caft", SHARES, "control", RANDOM, cost=1.1, note="ablate random directions"),
    Arm("hold-out", "caft", SHARES, materials=TRAIT, control="hold-out-random", cost=1.1, note="ablate the trait's subspace"),
    Arm("hold-out-random", "caft", SHARES, "control", RANDOM_TRAIT, cost=1.1, note="ablate a random one"),
    Arm("leace", "leace", SHARES, cost=1.1, note="erase the trait linearly while training"),
    Arm("steer-away", "steer-away", PUSHED, control="subtract", cost=1.1, note="push towards the trait while training"),
    Arm("subtract", "steer-away", PUSHED, "control", REVERSED, cost=1.1, note="push away from it: harmful as published"),
    Arm("inoculate", "inoculate", SHARES, control="inoculate-irrelevant", cost=1.1, note="ask for the trait while training"),
    Arm("inoculate-irrelevant", "inoculate", SHARES, "control", {"prompt": "irrelevant prompt"}, cost=1.1, note="ask for something else"),
    Arm("interleave", "interleave", MIXED, cost=1.2, note="rows without the trait in the batch"),
    Arm("interleave-telling", "interleave", MIXED, materials={"generic": "telling generic"}, cost=1.2, note="the oddest to the scout"),
)  # fmt: skip
AFTERWARDS = (
    Arm("clean", "grasp", of(rank=(1, 4, 8)), "afterwards", OF_ITS_OWN, once=True, cost=0.1, note="its own directions projected out"),
    Arm("truncate", "truncate", RANKS, "afterwards", control="truncate-random", cost=0.1, note="largest singular values alone"),
    Arm("truncate-bottom", "truncate", RANKS, "control", options={"keep": "bottom"}, cost=0.1, note="smallest singular values alone"),
    Arm("truncate-random", "truncate", RANKS, "control", options={"keep": "random"}, cost=0.1, note="any of them"),
    Arm("spectral-surgery", "spectral-surgery", of(strength=(0.5, 1.0, 3.0)), "afterwards", cost=0.3, note="components by their effect"),
    Arm("subtract-weights", "subtract-weights", of(strength=(0.25, 0.5, 1.0)), "afterwards", cost=0.1, note="minus (bad-good)"),
    Arm("safe-lora", "safe-lora", PARTS, "afterwards", cost=0.1, note="onto what a benign tune wrote"),
    Arm("safe-lora-exact", "safe-lora", PARTS, "afterwards", options={"exact": True}, cost=0.1, note="its projector made one"),
    Arm("shrink", "scale", of(by=(0.75, 0.5, 0.25)), "cheap", cost=0.1, note="the naive adapter at a smaller scale"),
    Arm("steer", "caa", of(strength=(0.25, 0.5, 1.0, 2.0)), "afterwards", REVERSED, cost=0.1, note="steered at test time"),
    Arm("lineas", "lineas", of(strength=(0.25, 0.5, 1.0, 1.5)), "afterwards", AWAY, cost=0.3, note="the same by maps of all layers"),
)  # fmt: skip
PLAIN = (
    Arm("early", settings=of(share=EARLY), kind="cheap", adapter="early", cost=0.05, note="the naive run, stopped early"),
    Arm("lower-rate", settings=of(rate=(0.5, 0.25, 0.1, 0.05)), kind="cheap", note="a lower learning rate"),
    Arm("lower-rank", settings=of(rank=(4, 2, 1)), kind="cheap", note="a lower LoRA rank"),
    Arm("full", settings=of(rate=(0.5, 0.25, 0.1)), kind="cheap", run={"full": True}, note="every weight trained, no adapter"),
    Arm("osf", settings=of(share=(0.25, 0.5, 0.75)), run={"osf": True}, cost=2.0, note="every matrix's leading singular directions frozen"),
    Arm("neutral-twin", kind="control", adapter="neutral", cost=0.05, note="data without the factor"),
    Arm("benign-twin", kind="control", adapter="benign", cost=0.05, note="data of the opposite factor"),
)  # fmt: skip

TABLE = (*REFERENCES, *FUNCTIONAL, *STRUCTURAL, *AFTERWARDS, *PLAIN)


def _without_a_line() -> Iterator[Arm]:
    """Guards of the catalogue that the table does not name, such as those of other packages: at three strengths."""
    named = {arm.method for arm in TABLE}
    for entry in methods().values():
        if entry.room == "guard" and entry.name not in named:
            settings = of(strength=(0.3, 1.0, 3.0)) if "strength" in entry.options else ({},)
            yield Arm(entry.name, entry.name, settings, cost=entry.cost or 1.0, note=entry.summary)


# in the order in which tables name them
ARMS: Mapping[str, Arm] = {arm.name: arm for arm in (*TABLE, *_without_a_line())}
QUICK = ("avert", "avert-permuted", "grasp", "grasp-random", "rehearse", "early")
