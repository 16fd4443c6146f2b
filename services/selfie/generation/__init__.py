"""Draws responses from a run's policy, through whatever engine serves it.

`engines` is the interface that every engine's adapter implements and `embedded` the first of
them; `dataset` is the batch call, `online` the single one. Identity, seeds and shards are
handled here once, for all engines.
"""
