"""Keys of an API server that service accounts' tokens are signed with: fetched, kept, and given up."""

import pytest

from identities import OPERATOR, Identities
from selfie import errors
from selfie.rpc.service_accounts import ApiServerKeys, ServiceAccountTokens


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(identities: Identities, clock: Clock) -> ServiceAccountTokens:
    source = ApiServerKeys(identities.url, identities.credentials)
    return ServiceAccountTokens(source, audience="selfie.dev", clock=clock)


async def test_a_new_key_is_fetched_when_a_token_names_it(
    tokens: ServiceAccountTokens, identities: Identities, clock: Clock
) -> None:
    await tokens.subject_of(identities.token())
    identities.key = Identities.new_key()
    clock.seconds += 11
    assert await tokens.subject_of(identities.token()) == OPERATOR
    assert identities.fetches == 2


async def test_tokens_of_unknown_keys_do_not_make_a_service_ask_again_and_again(
    tokens: ServiceAccountTokens, identities: Identities, clock: Clock
) -> None:
    await tokens.subject_of(identities.token())
    clock.seconds += 11
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await tokens.subject_of(identities.token(key=Identities.new_key()))
    assert identities.fetches == 2


async def test_a_key_that_was_withdrawn_is_no_longer_trusted_after_an_hour(
    tokens: ServiceAccountTokens, identities: Identities, clock: Clock
) -> None:
    old = identities.key
    await tokens.subject_of(identities.token(key=old))
    identities.key = Identities.new_key()
    clock.seconds += 3601
    with pytest.raises(errors.Unauthenticated):
        await tokens.subject_of(identities.token(key=old))


async def test_while_the_api_server_is_away_known_keys_serve_on(
    tokens: ServiceAccountTokens, identities: Identities, clock: Clock
) -> None:
    await tokens.subject_of(identities.token())
    identities.is_down = True
    clock.seconds += 3601
    assert await tokens.subject_of(identities.token()) == OPERATOR


async def test_without_any_keys_a_caller_is_told_to_come_again(
    tokens: ServiceAccountTokens, identities: Identities, clock: Clock
) -> None:
    identities.is_down = True
    with pytest.raises(errors.Unavailable, match="give the pod a token of the API server"):
        await tokens.subject_of(identities.token())
    identities.is_down = False
    clock.seconds += 2
    assert await tokens.subject_of(identities.token()) == OPERATOR
