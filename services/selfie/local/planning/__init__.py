"""What `selfie plan` finds out on this machine: the model and data at hand, and how fast it all goes here.

The arithmetic itself is `selfie.runs.estimates`. ``python -m selfie.local.planning`` is the program that
tries out one kind of work; every kind has a process of its own, so that its memory can be told apart.
"""
