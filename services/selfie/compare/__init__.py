"""Runs and their rounds side by side, pair by pair on the held-out pairs that they share."""
