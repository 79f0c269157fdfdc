"""Training: V-JEPA 2 pretraining, post-training of the action-conditioned predictor, and inverse models."""
