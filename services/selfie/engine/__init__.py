"""The embedded engine: samples from one checkpoint on this machine, without a GPU or a hub.

`sampling` draws tokens, `cache` and `decoding` run one batch, `batching` decides what goes
together, `core` is the engine that other code sees, and `servicer` puts it on the wire.
"""
