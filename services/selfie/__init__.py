"""Selfie aligns a language model with preference data that the model makes itself.

The method is arXiv 2406.04412; the packages below this one are its services and the parts
that they share. Nothing is imported here, so that each process loads only what it runs.
"""

__version__ = "0.1.0"
