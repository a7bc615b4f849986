"""scikit-learn's digits as a bench for methods: rows, nets, one training loop, and what can go wrong with all three.

For claims that need a classifier with a known answer in seconds: what a net that never saw a class says (`trained_net` on the
rows that are left), which labels are wrong (`noisy_labels`), how far an image is off (`corrupt`), what is known of few rows
(`few_shots`), which mark is a shortcut (`stamped`). All is drawn by seed and the same bit for bit on one machine; training
takes about a second on one thread.

It shows mechanisms, on 1,797 images of 64 pixels: no claim about language models, about scale or about speed follows from it.
A net of 64 units solves it, so methods that differ on hard tasks may not differ here.
"""

from despur.worlds.digits.corruptions import CORRUPTIONS, corrupt
from despur.worlds.digits.draws import Forgetting, few_shots, forget_class, forget_rows
from despur.worlds.digits.labels import NOISES, noisy_labels, stamped
from despur.worlds.digits.nets import NETS, digit_net, renormalized
from despur.worlds.digits.rows import DigitRows, Digits
from despur.worlds.digits.scores import accuracy, membership, row_losses
from despur.worlds.digits.training import Pass, train_net, trained_net

__all__ = [
    "CORRUPTIONS",
    "NETS",
    "NOISES",
    "DigitRows",
    "Digits",
    "Forgetting",
    "Pass",
    "accuracy",
    "corrupt",
    "digit_net",
    "few_shots",
    "forget_class",
    "forget_rows",
    "membership",
    "noisy_labels",
    "renormalized",
    "row_losses",
    "stamped",
    "train_net",
    "trained_net",
]
