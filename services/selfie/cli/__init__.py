"""The command line: `selfie run | status | report | validate | artifacts | serve`."""
