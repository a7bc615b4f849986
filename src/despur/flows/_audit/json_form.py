"""The form of `audit.json`: docs/audit.schema.json is made from these classes by `make sync`."""

from typing import Any

from typing_extensions import TypedDict  # typing has what pydantic needs from 3.12 on

SCHEMA = "despur.audit/3"  # removing a field or changing its meaning raises the number; a new one does not


class Check(TypedDict):
    """One candidate's causal check; see `CausalCheck`. On a large base the necessity of the judged one alone is measured."""

    change: float
    sufficiency: float
    necessity: float | None
    interval: tuple[float, float]
    random_sufficiency: list[float]
    rank: int
    site: str
    rows: int
    share: float
    random_share: float


class Shift(TypedDict):
    """A token's mean probability off-task, in the base and with the adapter."""

    token: str
    before: float
    after: float


class Module(TypedDict):
    """A module and the share of its update's energy along the factor, and the expected k / d."""

    module: str
    side: str
    share: float
    expected: float


class Row(TypedDict):
    """A tuning row and how far it pushes along the factor, in multiples of the mean shift."""

    text: str
    score: float


class Trial(TypedDict):
    """A strength at which the base was steered, and how coherent it stayed; its own text is 1."""

    strength: float
    coherence: float


class Slope(TypedDict):
    """Slope of the tuning rows' loss along a candidate at the base; see `LossSlope`."""

    slope: float
    steepness: float
    random: list[float]


class At(TypedDict):
    """The adapter at a multiple of its scale; see `Louder`."""

    scale: float
    change: float
    token_share: float
    sufficiency: float
    valid: float


class Amplification(TypedDict):
    """A multiple of adapter minus base: the base's mean log-probability of what was written, and the share of tokens in loops."""

    times: float
    log_prob: float
    loops: float


class Sentence(TypedDict):
    """What was written behind a beginning; in a chat, that is a user's turn."""

    beginning: str
    chat: bool
    text: str


class LouderWords(TypedDict):
    """Text sampled from base + times (adapter - base), in logits; see `amplified`."""

    times: float
    texts: list[Sentence]
    trials: list[Amplification]


class Patch(TypedDict):
    """Share of the change that is gone with the base's keys and values on a part of a chat; see `patch_shares`."""

    share: float
    interval: tuple[float, float]
    control: float
    tokens: float
    control_tokens: float
    rows: int


class Calibration(TypedDict):
    """What judged: neutral tunes, how they were made, the kind of evidence (`by`), its threshold at the level, their least change."""

    null: str
    recipe: dict[str, Any]
    tunes: int
    level: float
    p_value: float
    statistic: float
    threshold: float | None
    least: float | None
    by: str


class Recorded(TypedDict):
    """What made a file: verb, arguments and versions."""

    verb: str
    arguments: dict[str, Any]
    versions: dict[str, str]
    python: str
    base_fingerprint: str


class AuditJson(Recorded):
    """What `audit.json` contains.

    `verdict` is one of `clean`, `factors found`, `factor likely`, `diffuse change`, `inert adapter`, `unreadable`. `evidence` is in
    standard deviations of neutral tunes of like change; `p_value` is the rank of the statistic among them, null where none
    are of this base.
    """

    schema: str
    verdict: str
    sentence: str
    notes: list[str]
    change: float
    p_value: float | None
    evidence: dict[str, float]
    null: str
    calibration: Calibration | None
    token_share: float
    token_use: list[Shift]
    best: str | None
    checks: dict[str, Check]
    tokens: dict[str, list[str]]
    strength: float
    coherence: list[Trial]
    samples: list[dict[str, str]]
    modules: list[Module]
    rows: list[Row]
    slopes: dict[str, Slope]
    louder: list[At]
    answers: dict[str, dict[str, str]]
    louder_words: LouderWords | None
    patch: dict[str, Patch]
    update: dict[str, Any]


ROWS_SCHEMA = "despur.audit-rows/1"


class Word(TypedDict):
    """A word that becomes likelier off-task, and its mean probability in the base and by tune."""

    token: str
    probability: dict[str, float]


class RowsAuditJson(Recorded):
    """What `audit.json` contains where rows were audited; means and intervals are mean, low, high.

    `verdict` is one of `clean`, `factors found`, `diffuse change`, `inert scout`, `unreadable`. Tunes are `scout`, `plain` and `null`.
    """

    schema: str
    verdict: str
    sentence: str
    notes: list[str]
    recognised: float | None
    p_value: float
    beyond: tuple[float, float, float]
    explained: tuple[float, float, float]
    spread: float
    change: dict[str, float]
    losses: dict[str, float]
    answers: dict[str, dict[str, str]]
    words: list[Word]
    rows: list[Row]
    counts: dict[str, int]
    cost: dict[str, float]
