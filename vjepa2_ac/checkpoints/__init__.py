"""Weights in and out: official `.pt` files, Hugging Face folders, and this project's release format.

`load(source)` gives the models a file holds. What is exported here is imported when first asked for, so that the
command line can list its commands without waiting for torch.
"""

from __future__ import annotations
