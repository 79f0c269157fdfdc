"""V-JEPA 2-AC world models: encode what a robot sees, imagine what its moves would lead to.

The names below are the public ones. They are resolved when first used, so that a program that only talks to a
planning service never imports torch.
"""

from __future__ import annotations

__version__ = "0.1.0"
