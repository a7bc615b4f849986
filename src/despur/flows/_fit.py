"""The former place of a run's settings; scripts that name it go on working."""

from despur.core.late import moved

__getattr__ = moved("despur.flows._fit", {"Settings": "despur.flows._train.fit"})
