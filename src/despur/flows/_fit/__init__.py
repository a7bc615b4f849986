"""`despur fit` and `despur apply`: any estimator of the catalogue on any table."""
