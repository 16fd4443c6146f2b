"""Carries out the planner's decisions on this machine, with the services as processes."""
