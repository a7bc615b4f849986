"""`despur fit` and `despur apply`: any estimator of the catalogue on any table."""

from despur.core.late import moved

__getattr__ = moved("despur.flows._fit", {"Settings": "despur.flows"})  # the settings of a run once had this place
