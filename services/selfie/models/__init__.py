"""Checkpoints: where they come from, how they are loaded, and how chats become token ids.

`resolve` turns a model's URI into a checked directory, `embedded` makes the built-in model,
`chat` is the only place where text becomes ids, and `loading` the only one where weights
become a model, so that sampling, scoring and training see the same tokens and the same kernel.
"""
