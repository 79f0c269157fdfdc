"""Fit-check: what a world model knows, measured offline on recorded episodes it was not trained on.

`tracks` reads the episodes and `encoded_tracks` encodes them; `drift`, `ranking`, `controls`, `pairs`, `axes`,
`readout`, `whereabouts` and `located` each answer one question about a model; `report` asks all of every model; `table`
and `pictures` show the answers.
"""
