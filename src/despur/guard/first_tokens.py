"""first-tokens: hold the beginnings of the base's answers to very many questions that it asks itself."""

from despur.core import Edit, method
from despur.core.errors import BadInput
from despur.core.model.own_text import OwnText
from despur.guard.rehearse import rehearse

QUESTIONS, TOKENS = 400, 6  # of the text that a run writes for it
HALF = 0.5  # of the weight of `rehearse` at strength 1
BUDGET = 0.5  # tokens of text for each token of the task: of a short answer's row most is the question


@method(room="guard", paper="despur 2026, docs/log/free-answers.md", cost=1.4)
def first_tokens(beginnings: OwnText, *, strength: float = 1.0, tokens: int = TOKENS, budget: float = BUDGET) -> Edit:
    """Hold the beginnings of the base's answers to very many questions of its own.

    How an answer begins decides what it becomes: in whose voice it is, and whether it answers. So the guard spends its tokens on as
    many *different* questions as possible, and holds the first few tokens of each answer alone. Needs no data, no labels, no factor and
    no scout. Choose it for a chat base whose rows ask for facts; what is learned on the task's own questions stays free.

        loss = task + 5 strength mean_t KL(p_base || p),  t the first tokens of an answer

    Args:
        beginnings: Own text of very many questions, `OwnText.sample(model, tokenizer, rows=400, max_new_tokens=6)`; longer answers
            are cut.
        strength: Weight of the penalty; 1 is lambda = 5 per token, 0 leaves training bit-identical.
        tokens: Of each answer that are held.
        budget: Tokens of text in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less, or no token.
        CannotAttach: the text has tokens that the model lacks (raised when training begins).

    Example:
        >>> first_tokens(OwnText(((1, 2, 3, 4, 5, 6, 7, 8, 9),), starts=(2,)), tokens=3).text.rows
        ((1, 2, 3, 4, 5),)

    Source: despur's own; that safety alignment is only a few tokens deep, and can be kept there, is arXiv:2406.05946.
    Differs: there the first tokens of refusals are held in the tune's own rows, here those of any answer, on questions that the base asks.
    Limits: of a base without a chat template the rows are beginnings of documents, which say little. A change that comes late in an answer
        passes. One seed of one real model chose strength and budget; two others tell two thirds of the facts that the plain run tells
        (docs/log/free-answers.md).
    """
    if tokens < 1:
        raise BadInput(f"tokens={tokens}; it is how many of each answer are held, 1 or more")
    cut = {row[: start + tokens]: start for row, start in zip(beginnings.rows, beginnings.starts, strict=True)}
    return rehearse(
        OwnText(tuple(cut), beginnings.origin, tuple(cut.values())), strength=HALF * strength, budget=budget
    )
