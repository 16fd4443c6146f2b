"""The program of a training job: one round of noise-aware preference optimisation."""
