"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # one that is busy proves nothing about the product
settings.load_profile("any machine")
