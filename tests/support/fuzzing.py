"""Requests as nobody should send them: valid ones, changed at random, in JSON and in protobuf."""

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from selfie.v1 import scoring_pb2

METHODS: dict[str, type[Message]] = {
    "Score": scoring_pb2.ScoreRequest,
    "Compare": scoring_pb2.CompareRequest,
    "Rank": scoring_pb2.RankRequest,
}
STRANGE: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: None,
    lambda rng: "",
    lambda rng: "x" * rng.choice((1, 300, 5000)),
    lambda rng: "".join(chr(rng.choice((0, 7, 233, 0x2028, 0xD800, 0xDFFF, 0x1F600))) for _ in range(5)),
    lambda rng: "<|im_end|>",
    lambda rng: rng.choice((-1, 0, 1, 10**6, 2**31, -(2**31), 2**63, 2**64, 10**30)),
    lambda rng: rng.choice((0.5, -0.0, 1e-320, 1e308, 1.5, float("nan"), float("inf"))),
    lambda rng: rng.choice(("NaN", "Infinity", "-Infinity", "1e9", "0x10", "NORMALIZATION_MEAN")),
    lambda rng: rng.choice((True, False)),
    lambda rng: [],
    lambda rng: {},
    lambda rng: [rng.randrange(400) for _ in range(rng.choice((1, 5, 3000)))],
    lambda rng: [{"text": "a"} for _ in range(rng.choice((1, 65, 200)))],
    lambda rng: _nested(rng.choice((5, 90, 300))),
)


class Fuzzer:
    """The same requests again for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def json(self) -> tuple[str, bytes]:
        """A method and a body for it."""
        method = self._rng.choice(list(METHODS))
        body = self._valid(method)
        for _ in range(self._rng.randrange(4)):
            self._change(body)
        if self._rng.random() < 0.01:
            return method, self._rng.choice((b"[", b'{"prompt":')) * self._rng.choice((10, 10_000, 100_000))
        text = json.dumps(body)
        return method, self._damaged(text.encode(errors="surrogatepass"))

    def protobuf(self) -> tuple[str, bytes]:
        """A method and a message for it."""
        method = self._rng.choice(list(METHODS))
        body = self._valid(method)
        for _ in range(self._rng.randrange(4)):
            changed = json.loads(json.dumps(body))
            self._change(changed)
            # What protobuf has no value for can't be sent this way.
            with contextlib.suppress(Exception):
                json_format.ParseDict(changed, METHODS[method]())
                body = changed
        message = json_format.ParseDict(body, METHODS[method]())
        return method, self._damaged(message.SerializeToString())

    def _valid(self, method: str) -> dict[str, Any]:
        rng = self._rng
        prompt = rng.choice(
            (
                {"text": "Hi"},
                {"promptIds": [3, 4, 5]},
                {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
            )
        )
        responses = [
            rng.choice(({"text": "Yes."}, {"responseIds": [7, 8]})) for _ in range(rng.randrange(1, 4))
        ]
        options = {
            "beta": rng.choice((0, 0.1, 100)),
            "normalization": rng.choice(("NORMALIZATION_MEAN", 0, 1)),
            "lambdas": [0.5] * rng.randrange(3),
            "perToken": rng.random() < 0.5,
            "truncation": rng.randrange(4),
            "tieMargin": rng.choice((0, 1)),
            "precision": rng.randrange(5),
        }
        if rng.random() < 0.05:
            options["weights"] = {"policy": "file:///models/a", "reference": "file:///models/b"}
        asked = {"first": responses[0], "second": responses[-1]}
        given = asked if method == "Compare" else {"responses": responses}
        return json.loads(json.dumps({"prompt": prompt, **given, "options": options}))

    def _change(self, body: Any) -> None:
        """Puts something strange at a random place."""
        places: list[tuple[Any, Any]] = []
        _collect(body, places)
        if not places:
            return
        holder, key = self._rng.choice(places)
        what = self._rng.random()
        if what < 0.1 and isinstance(holder, dict):
            holder[self._rng.choice(("extra", "prompt", "beta", ""))] = 1
        elif what < 0.2:
            del holder[key]
        else:
            holder[key] = self._rng.choice(STRANGE)(self._rng)

    def _damaged(self, data: bytes) -> bytes:
        """The bytes, one time in five with some of them lost, added or flipped."""
        if self._rng.random() > 0.2 or not data:
            return data
        damaged = bytearray(data)
        for _ in range(self._rng.randrange(1, 4)):
            place = self._rng.randrange(len(damaged))
            match self._rng.randrange(4):
                case 0:
                    damaged[place] = self._rng.randrange(256)
                case 1:
                    damaged[place:place] = self._rng.randbytes(self._rng.randrange(1, 8))
                case 2:
                    del damaged[place:]
                case _:
                    del damaged[place]
            if not damaged:
                break
        return bytes(damaged)


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    if len(places) > 200:
        return
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _collect(value[key], places)


def _nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"prompt": found}
    return found
