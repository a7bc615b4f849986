"""axolotl with a guard: this file on PYTHONPATH, and in its YAML `plugins: [axolotl_guard.GuardPlugin]`."""

from axolotl.integrations.base import BasePlugin

from despur import GuardCallback
from despur.guard import OwnText, rehearse


class GuardPlugin(BasePlugin):
    """Keep what the base does, on text that it writes before training begins."""

    def add_callbacks_post_trainer(self, cfg, trainer):
        """Give the trainer its guard."""
        return [GuardCallback(rehearse(OwnText.sample(trainer.model, trainer.processing_class)))]
