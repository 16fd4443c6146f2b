"""Expressions that panels share."""


def quantile(share: float, family: str, labels: str, by: str = "") -> str:
    """Of a histogram: what so large a share of its observations is below; ``by`` is ``, label``."""
    return f"histogram_quantile({share}, sum by (le{by}) (rate({family}_bucket{labels}[5m])))"


def per_second(family: str, labels: str, by: str = "") -> str:
    """How fast a counter grows, by labels."""
    return f"sum by ({by}) (rate({family}{labels}[5m]))"
