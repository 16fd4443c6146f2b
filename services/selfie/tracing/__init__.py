"""Traces of OpenTelemetry, by switch: an attempt at a step is one trace across all that work on it."""
