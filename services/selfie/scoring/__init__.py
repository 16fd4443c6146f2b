"""The scoring service: judges responses by a policy's own log-probabilities against a reference."""
