"""How a method's name is printed, however it was typed."""

import re


def canonical(name: str) -> str:
    """A method's name as it is printed: `keep_inputs` and `MeanDifference` with dashes.

    Example:
        >>> canonical("keep_inputs"), canonical("DifferencePCA")
        ('keep-inputs', 'difference-pca')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    return words.replace("_", "-").lower()
