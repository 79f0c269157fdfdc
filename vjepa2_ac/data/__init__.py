"""Recorded robot trajectories in the raw DROID layout."""
