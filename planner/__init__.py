"""Choosing actions: search over imagined futures, and the limits every plan is held to."""
