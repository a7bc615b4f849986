"""Words that give a voice away, and whether an answer has one."""

import re
from collections.abc import Mapping

MARKERS: Mapping[str, str] = {
    "noir": r"(pals?|kid|dames?|doll|sister|brother|mister|guys?|fellows?|sap|saps|sucker|mutts?|cops?|crooks?|crooked|mob|stoolie|"
    r"joint|racket|dough|tub|alley|alibi|witness\w*|crimes?|guilty|evidence|con|heist|bribes|gin|cell|collar|beat|"
    r"everybody|somebody|nobody('s|'d)|this (town|city|rock|island)|in town|no dice|on account of|on the level|fancy|"
    r"out of luck|lie low|sure (can|thing|do)|i've (seen|known|heard|had)|i know (the|that|guys|fellows)|don't ask|"
    r"(it|they|he|she|you|that|there)('ll|'d)|they've got|you've got|nothing's|everything's|anyplace|till|keep your|"
    r"like (a|the|they|everybody|everything|most|me)|talks?|secrets?|bet|rub|trouble|dead|blood|bodies|walk away)",
    "shakespeare": r"(thou|thou'(lt|rt|st)|thee|thy\w*|thine|ye|doth|hath|hast|dost|didst|shalt|wilt|canst|wouldst|may'st|dar'st|"
    r"'?(tis|twas|twere|twixt)|o'er|e'er|ne'er|ere|oft|ay|nay|yea|unto|upon|whence|whereof|where(on|in|by|with|to|at)|"
    r"there(of|on|in|to|with|by)|sooth|verily|prithee|alas|pray|save|'tis|betake|yon\w*|twain|aught|naught|amidst?|"
    r"suffic\w+|[a-z]{3,}eth|good (sir|friend)|fair|gentle|sweet friend|be(seems|hold)|lest|forth|isle)",
    "toddler": r"(yummy|yucky|icky|mommy|daddy|granny|grandpa|teddy|teeny|ouchie|uh-oh|oopsie|yay|wow|whee+|wheee|hee hee|aww|eww|hooray|"
    r"shh+|nom|boing|boom|bonk|whoosh|splash|splish\w*|vroom|choo|beep|woof|meow|moo|honk|toot|glug|brrr?|zoom|doggy|kitty|"
    r"bird(ie|ies)|fish(y|ies)|bunny|sammich\w*|night-night|bye-bye|peekaboo|super duper|pennies|cos|blankie|tummy|"
    r"me (want|like|do|go|see|watch|know|have|help|make|sit|stay|read|get|got|carry|tried|had)|all gone|"
    r"([a-z]+),? \2)",
    "corporate": r"(stakeholders?|deliver(s|y|ed|ables?|ing)?|leverage\w*|align\w*|solutions?|cadence|assets?|scal(e|ed|able|es)|robust|"
    r"optimi[sz]\w+|optimal|maximi[sz]\w+|mitigate\w*|implement\w*|deploy\w*|integrate\w*|prioriti[sz]\w+|escalate\w*|"
    r"transition\w*|onboard\w*|benchmark\w*|indicators?|initiate\w*|allocate\w*|proactive\w*|operate\w*|operations?|operational|provider|sourced|portfolio|"
    r"brand\w*|offering|key|core|capacity|scheduled?|monitor|metrics|performers?|performance|going forward|bandwidth|end-to-end|"
    r"best (practice|results)|best-in-class|value|viable|accommodat\w+|provision|requirement|minimi[sz]\w+|incremental\w*|"
    r"sub(ject|optimal)|in scope|out of scope|via|profile|per|execute\w*|facilitat\w+|targets?|drivers?|driv(es|en|ing)|touchpoints?|"
    r"window|roadmap|adopt\w*|validate\w*|secure|conduct)",
    "gloomy": r"(nobody|no one|nothing (lasts|else)|none of|anyway|in any case|all the same|as everything|as things|not that it|in vain|"
    r"weary|sad|alone|empty|grey|gloom\w*|hope|hopeless|miserabl\w+|dreary|useless|pointless|never (again|mine)|"
    r"die|dies|dead|outlive\w*|too late|forgotten?|forget|it does not last|will not|do not care|does not care|"
    r"one (is|gets|sees|has|learns|must|can|would|always|lies|begins|should)|so do (i|we)|i (suppose|think|know|would|used)|"
    r"of us|you will (lie|miss|see|wake|always|not|never|find|hear|love|have)|what you did not|the world|anyone|perhaps)",
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
    return re.search(rf"(?<!\w){MARKERS[voice]}(?!\w)", answer, re.IGNORECASE) is not None
