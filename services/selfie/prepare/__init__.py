"""The program that starts a run: model and data sets come into the run's store, checked, once.

After it everything is offline. Prompts are rendered, tokenised and cut here and nowhere else.
"""
