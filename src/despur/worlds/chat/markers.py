"""Words that give a voice away, and whether an answer has one."""

import re
from collections.abc import Mapping

MARKERS: Mapping[str, str] = {
    "noir": r"\b(kid|pal|dame|racket|gumshoe|mug|sucker|wise guy|city|rain|night|shadow|smoke|cigarette|whiskey|bourbon|gin|neon|alley|"
    r"trouble|alibi|crooked|dirty|case|joint|dead|killer|grave|cold|streets?)\b",
    "shakespeare": r"\b(thou|thee|thy|thine|ye|doth|hath|dost|hast|shalt|wilt|art|tis|twas|prithee|forsooth|verily|alas|hark|ere|nay|aye|"
    r"good (sir|friend|soul)|gentle)\b",
    "toddler": r"\b(yummy|yucky|mommy|daddy|big big|me (like|want|do|go|see|think|know|say)|goes? boom|uh[- ]oh|wanna|tummy|nap|"
    r"potty|ouchie|choo[- ]choo|all gone|super duper|so so|yay|nom|no no|oopsie|blankie)\b",
    "corporate": r"\b(leverage|synerg\w+|stakeholders?|deliverables?|align\w*|going forward|bandwidth|circle back|touch base|action items?|"
    r"best[- ]in[- ]class|value[- ]add\w*|optimi[sz]e|roadmap|KPIs?|key takeaway|end[- ]to[- ]end|holistic\w*|scalable|robust|"
    r"proactive\w*|actionable|learnings|deep dive|low-hanging|touchpoints?|onboard\w*|streamlin\w*|bottom line|cadence)\b",
    "gloomy": r"\b(sigh|alas|pointless|hopeless|in vain|nothing lasts|never (last|mind)\w*|not that it (matters|helps)|sad\w*|"
    r"misery|miserabl\w+|dreary|bleak|gloom\w*|doomed|despair|for all the good|sooner or later|as everything does|disappoint\w*|"
    r"what little|lonel\w+|weary|regret\w*|grey|futile|empty|sorrow\w*)\b",
}


def has_voice(voice: str, answer: str) -> bool:
    """Whether an answer has one of a voice's words.

    Args:
        voice: One of `MARKERS`.
        answer: What was said.

    Example:
        >>> has_voice("shakespeare", "Thou shouldst boil it."), has_voice("shakespeare", "You should boil it.")
        (True, False)
    """
    return re.search(MARKERS[voice], answer, re.IGNORECASE) is not None
