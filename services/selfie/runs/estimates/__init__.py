"""What a run will take, before anything of it is spent: rows, tokens, time, memory, disk, GPU-hours.

`estimating.estimate_run` goes through the planner's own list of steps, so no step can be forgotten. Every
figure is a range over three `scenarios`, and every assumption behind it is listed with it. Pure: what
lies on this machine, and how fast it is, comes in as arguments (`selfie.local.planning` finds it out).
"""
