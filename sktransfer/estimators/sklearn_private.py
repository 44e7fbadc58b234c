"""scikit-learn's private helpers: the only module that imports them.

They are used as scikit-learn's developer guide shows third-party estimators, and are the same from
1.6 to 1.9. They can go when scikit-learn makes parameter validation public.
"""

from __future__ import annotations

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names as check_feature_names

__all__ = ["Interval", "StrOptions", "check_feature_names", "fit_context"]
