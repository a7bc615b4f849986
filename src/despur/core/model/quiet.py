"""Silence for libraries that print over our own progress and results."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Load or wrap models without transformers' bars and without warnings that a user cannot act on."""
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|peft")
            warnings.filterwarnings("ignore", "fan_in_fan_out")  # of GPT-2's Conv1D PEFT sees to it itself
            yield
    finally:
        if was:
            logging.enable_progress_bar()
