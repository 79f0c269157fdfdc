"""Networks, with the state-dict layout of the released V-JEPA 2 files.

`rope`, `attention`, `blocks`, `patches` and `positions` are the parts; `encoder`, `masked_predictor`, `ac_predictor`,
`pooler` and `anticipation` the models of V-JEPA 2; `encoder_v21` and `masked_predictor_v21` those of 2.1; `sizes` the
released configurations. `stills` encodes single frames. Not from V-JEPA 2 are `local_mixing` and `copy_gate`, options
of the action-conditioned predictor, and what locates hands: `inverse_model` with its `feature_points`, and
`hand_location`.

Every model is made from a frozen configuration, `Encoder(config)`, and draws its initial weights itself;
`build.build(Encoder, config, seed=..., dtype=...)` does so reproducibly, without holding the weights twice.
"""
