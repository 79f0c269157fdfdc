"""The planning service: one model, one queue, and the wires that lead to it."""
