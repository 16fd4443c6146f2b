"""What a machine lacks for a node, in words that can be acted upon."""

from cluster.preconditions import DEBIAN, missing_packages


def test_packages_are_named_as_debian_names_them() -> None:
    lacking = missing_packages(lambda command: command not in {"ctr", "nft"})
    assert {"containerd", "nftables"} <= set(lacking)
    assert not {"runc", "iproute2", "mount"} & set(lacking)
    assert set(lacking) <= set(DEBIAN)
