"""Generated from `proto/` by `proto/generate`; never edited. A test holds that it is up to date."""
