"""The command line: `selfie run | status | report | validate | serve`."""
