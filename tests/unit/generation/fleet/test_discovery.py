"""The servers behind the names that were given."""

import pytest

from selfie.errors import InvalidInput
from selfie.generation.fleet.discovery import LOOK_UP_EVERY_S, Discovery
from selfie.generation.http.clients import Address


class Names:
    """A name service and a clock."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.asked = 0
        self.now = 0.0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if host not in self.known:
            raise OSError("no such name")
        return self.known[host]

    def discovery(self, targets: str) -> Discovery:
        return Discovery(targets, resolve=self.resolve, clock=lambda: self.now)


async def test_a_name_stands_for_all_its_addresses_and_is_kept_as_the_host():
    names = Names(engine=["10.0.0.2", "10.0.0.1", "fd00::1"])
    assert await names.discovery("http://engine:3000").addresses() == (
        Address("http://10.0.0.1:3000", "engine:3000"),
        Address("http://10.0.0.2:3000", "engine:3000"),
        Address("http://[fd00::1]:3000", "engine:3000"),
    )


async def test_addresses_that_come_and_go_are_seen_at_the_next_look():
    names = Names(engine=["10.0.0.1"])
    discovery = names.discovery("http://engine")
    await discovery.addresses()
    names.known["engine"] = ["10.0.0.2"]
    assert [address.url for address in await discovery.addresses()] == ["http://10.0.0.1:80"]
    assert names.asked == 1
    names.now += LOOK_UP_EVERY_S
    assert [address.url for address in await discovery.addresses()] == ["http://10.0.0.2:80"]


async def test_a_name_that_cannot_be_looked_up_keeps_its_addresses():
    names = Names(engine=["10.0.0.1"])
    discovery = names.discovery("http://engine")
    known = await discovery.addresses()
    del names.known["engine"]
    names.now += LOOK_UP_EVERY_S
    assert await discovery.addresses() == known


async def test_a_name_that_never_was_has_no_addresses():
    assert await Names().discovery("http://engine").addresses() == ()


async def test_literal_addresses_and_names_of_certificates_are_taken_as_they_are():
    names = Names()
    found = await names.discovery("http://127.0.0.1:8000/, https://engine.example:8443").addresses()
    assert [address.url for address in found] == ["http://127.0.0.1:8000", "https://engine.example:8443"]
    assert names.asked == 0


@pytest.mark.parametrize(
    "targets",
    ["engine:3000", "", "ftp://engine", "http://", "http://user:secret@engine", "http://a,,http://b"],
)
def test_what_is_no_address_is_refused_with_the_remedy(targets):
    with pytest.raises(InvalidInput, match="write http://NAME:PORT"):
        Discovery(targets)
