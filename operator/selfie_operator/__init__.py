"""Reconciles SelfieRun resources on a cluster, by the planner of `selfie.runs`."""
