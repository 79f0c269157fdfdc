"""Networks, with the state-dict layout of the released V-JEPA 2 files.

`rope`, `attention`, `blocks`, `patches` and `positions` are the parts; `encoder`, `masked_predictor`, `ac_predictor`
and `pooler` the models of V-JEPA 2; `encoder_v21` and `masked_predictor_v21` what 2.1 does differently; `sizes` the
released configurations; `build` how weights come to be. Every model is made from a frozen configuration,
`Encoder(config)`, and draws its first weights itself; `build(Encoder, config, seed=..., dtype=...)` does it
reproducibly and in memory once.
"""
