"""Beside an engine that is moved where it stands: fetches weights, moves it to them, tells which it has.

The operator notes on the pod which weights are wanted. `wanted` reads the note, `follower` brings
the engine to them, `servicer` answers for it as Selfie's own engines answer for themselves.
"""
