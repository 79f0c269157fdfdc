"""Learning: V-JEPA 2 pretraining, and post-training of the action-conditioned predictor."""
