"""The method itself: pure functions over numbers, in float64, without any input or output.

Self-generated preference data (arXiv 2406.04412): a policy judges its own responses by their
log-probabilities against a reference, and learns from the pairs with a loss that softens the
labels it is not sure of. Nothing here loads a model: the callers bring log-probabilities.
"""
