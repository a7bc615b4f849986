"""Find what stands behind a table: estimators of tables, tensors and mixtures; numbers in, no model.

They are imported when they are asked for: they need scikit-learn, which takes a second.
"""

from typing import TYPE_CHECKING

from despur.core.late import imported_late

if TYPE_CHECKING:
    from despur.latent.factor_analysis import FactorAnalysis

_WHERE = {"factor_analysis": ("FactorAnalysis",)}
METHODS = tuple(_WHERE)  # what the catalogue of methods imports

__all__ = ["FactorAnalysis"]

__getattr__ = imported_late("despur.latent", _WHERE)
