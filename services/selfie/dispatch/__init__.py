"""Carries a step's start, state and stop to the service that does it, over gRPC.

Used by every place that carries out the planner's decisions: this machine and a cluster differ
in how services come to run, not in what they are asked.
"""
