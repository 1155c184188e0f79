"""scikit-learn's objects on disk, without pickle and without PyTorch."""

from __future__ import annotations

import sys
from typing import Any


def lean_skops() -> Any:
    """Return ``skops.io``, imported without PyTorch.

    It looks for scikit-learn's types in every module of it, and one of those would import PyTorch where that is
    installed: seconds, and 700 MB that a server would hold for nothing.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # so Python says: not there
    try:
        import skops.io
    finally:
        if hidden:
            del sys.modules["torch"]
    return skops.io
