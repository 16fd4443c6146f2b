"""Which weights a call may name: places below the prefixes that the operator allows, and the caller has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from selfie.errors import InvalidInput, PermissionDenied

FIELD = "options.weights"


@dataclass(frozen=True)
class PairName:
    """Where two checkpoints lie, and the digests that they must have; an empty one takes any."""

    policy: str
    reference: str
    policy_digest: str = ""
    reference_digest: str = ""


@dataclass(frozen=True)
class Places:
    """``prefixes`` are URIs below which weights may be named; none is none at all.

    ``callers`` binds those who are known by a token to prefixes of their own. Where any is bound, whoever
    is not has none.
    """

    prefixes: Sequence[str] = ()
    callers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self, name: PairName, caller: str | None) -> None:
        """InvalidInput for a place that nobody may name, PermissionDenied for one that the caller may not."""
        for side, uri in (("policy", name.policy), ("reference", name.reference)):
            if not _is_plain(uri) or not _below(uri, self.prefixes):
                allowed = ", ".join(self.prefixes) or "(none: start the scorer with --weights-prefixes)"
                raise InvalidInput(
                    f"{FIELD}.{side}", f"{uri!r} is not below an allowed prefix", f"use one of {allowed}"
                )
            if self.callers and not _below(uri, self._of(caller)):
                raise PermissionDenied(f"{caller or 'who has no token'} may not use the weights at {uri}")

    def _of(self, caller: str | None) -> Sequence[str]:
        return self.callers.get((caller or "").removeprefix("api-token:"), ())


def _is_plain(uri: str) -> bool:
    """Written out: no way up, nothing escaped, nothing that ends a path."""
    return not (set(uri) & set("%?#\\")) and ".." not in uri.split("/")


def _below(uri: str, prefixes: Sequence[str]) -> bool:
    roots = [prefix.rstrip("/") for prefix in prefixes]
    return any(uri.rstrip("/") == root or uri.startswith(root + "/") for root in roots)
