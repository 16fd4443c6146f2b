"""One self-contained page about a run: what changed, by how much, and what to read of it."""
