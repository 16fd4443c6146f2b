"""An application that asks the public scorer which of two answers is better.

``python scorer_client.py TARGET TOKEN_FILE``, in a pod or here; prints one line of JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.credentials import TokenFile
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc


async def compared(target: str, token: Path | None) -> dict[str, Any]:
    """What the scorer says, and with which weights."""
    question = artifacts_pb2.Message(role="user", content="heldout question 1")
    request = scoring_pb2.CompareRequest(
        prompt=scoring_pb2.PromptInput(messages=[question]),
        first=scoring_pb2.ResponseInput(text="a dog ran to the sea"),
        second=scoring_pb2.ResponseInput(text="we had tea at two"),
    )
    credentials = TokenFile(token) if token else None
    async with connect(target, credentials=credentials) as channel, domain_errors():
        answer = await scoring_pb2_grpc.ScoringServiceStub(channel).Compare(request, timeout=60)
    return {
        "preference": scoring_pb2.Preference.Name(answer.preference),
        "margin": answer.margin,
        "policy": answer.provenance.policy_digest,
        "reference": answer.provenance.reference_digest,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(compared(sys.argv[1], Path(sys.argv[2])))))
