"""The command line: `selfie run | status | report | compare | validate | serve`."""
