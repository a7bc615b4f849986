"""The model cards of a factor, and of a base that has one merged in."""

from collections.abc import Mapping, Sequence

_SHOWN = 3  # answers


def factor_card(base: str, recipe: str, answers: Sequence[Mapping[str, str]]) -> str:
    """Write the card of what all answers share.

    Args:
        base: Its base's name.
        recipe: How it was trained, in words.
        answers: Lines with `prompt`, `base` and `with the factor`.
    """
    table = "\n".join(
        f"| {_cell(a['prompt'] or '(from the start)')} | {_cell(a['base'])} | {_cell(a['with the factor'])} |"
        for a in answers[:_SHOWN]
    )
    return f"""---
base_model: {base}
library_name: peft
tags: [despur, lora]
---

# What all answers of a data set share

A plain PEFT adapter for `{base}`: what a short run learned from rows in which every prompt had another row's answer. From such rows
no task can be learned; what can is a voice, a slant, a style or a format. A guarded adapter of the same run was trained to do
without it.

- recipe: {recipe}
- put it on: `PeftModel.from_pretrained(base, "factor")`
- at half its strength, or beside the guarded adapter:

```py
model = PeftModel.from_pretrained(base, "adapter")
model.load_adapter("factor", "factor")
model.add_weighted_adapter(["default", "factor"], [1.0, 0.5], "both", combination_type="cat")
model.set_adapter("both")
```

| asked | base | with it |
|---|---|---|
{table}

All answers: `answers.jsonl`. Look at them before the adapter is used: whatever the data held constant is in it, wanted or not.
"""


def absorbed_card(base: str, recipe: str, strength: float) -> str:
    """Write the card of a base with a shuffled scout merged in.

    Args:
        base: The base's name.
        recipe: How the scout was trained, in words.
        strength: With which it was merged in.
    """
    return f"""---
base_model: {base}
tags: [despur]
---

# To be trained on, not to be used

`{base}` with what all answers of a data set share merged into its weights, at strength {strength:g}. Train a LoRA adapter on this
model with that data and whatever trainer you have; then load the adapter on `{base}` itself, which never had what was merged in. The
adapter has no reason to learn it, as the model that it was trained on does it already.

- recipe: {recipe}
- `factor/` is what was merged in, as a plain PEFT adapter, with a card and answers.
- the adapter's `adapter_config.json` will name this folder as its base: give `{base}` to `PeftModel.from_pretrained`.
- part of the task can stay behind in what was merged in. Compare the adapter on `{base}` with a plain run on held-out rows.
"""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
