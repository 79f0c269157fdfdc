"""Recorded episodes: found and read, cut into windows, written, checked. The layout is raw DROID's; see docs/data.md.

`layout.find_episodes` finds them, `episodes.open_episode` and `episodes.usable` read them, `windows.draw_window` cuts
them, `writer.write_episode` writes them. Nothing is imported here, so that `--help` need not wait for HDF5.
"""
