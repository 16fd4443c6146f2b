"""The Kubernetes API as Selfie uses it: plain objects, a handful of verbs, our own errors.

The operator and the training controller both speak it, and neither knows which client library does.
"""
