"""Fit-check: what a world model knows, measured offline on recorded episodes it has not seen.

`tracks` and `footage` bring the episodes in; `drift`, `ranking`, `controls`, `pairs`, `axes` and `readout` each answer
one question about them; `report` asks them all of every model; `table` and `pictures` show the answers.
"""
