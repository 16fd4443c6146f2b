"""The versions that requirements pin."""

import re

from documented import ROOT


def pins(name: str) -> dict[str, str]:
    """Version by package of `requirements/<name>.txt`."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))
