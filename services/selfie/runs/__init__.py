"""The SelfieRun: its typed specification and status, and the planner of what happens next.

Everything here is pure. The operator and the command line carry the planner's decisions out in
two different places, from the same file, so nothing here knows of either of them.
"""
