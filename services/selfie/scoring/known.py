"""Reference log-probabilities of an earlier scoring, for rows that are judged again by another policy.

From round to round the policy changes and the reference does not: on the same rows half of the work
would only give the same numbers again.
"""

import hashlib
from array import array
from collections.abc import Mapping

from selfie.artifacts.manifests import ManifestRef, read_ref
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.scoring.core import Provenance
from selfie.scoring.rows import Row

_COLUMNS = ("prompt_ids", "response_ids", "reference_logprob")
_SAME = ("reference_digest", "tokenizer_digest", "precision")


def known_reference(store: Store, ref: ManifestRef | None, provenance: Provenance) -> Mapping[bytes, float]:
    """Summed reference log-probabilities, in nats, by `row_key`.

    Only those that the scorer of this ``provenance`` would compute itself: by the same reference, in
    the same precision. None where policy and reference are the same weights, as these are scored in
    one pass, whose sums are equal to the last bit.
    """
    if ref is None or provenance.policy_digest == provenance.reference_digest:
        return {}
    table = read_group(store, read_ref(store, ref), "responses")
    return {
        row_key(Row(tuple(row["prompt_ids"]), tuple(row["response_ids"]))): row["reference_logprob"]
        for row in table.select([*_COLUMNS, *_SAME]).to_pylist()
        if all(row[name] == getattr(provenance, name) for name in _SAME)
    }


def row_key(row: Row) -> bytes:
    """Digest of the ids, 32 bytes however long they are."""
    lengths = array("q", (len(row.prompt_ids), *row.prompt_ids, *row.response_ids))
    return hashlib.sha256(lengths.tobytes()).digest()
