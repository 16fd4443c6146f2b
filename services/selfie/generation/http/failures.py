"""What the failures of an engine behind HTTP mean, as errors of `selfie.errors`.

::

    429                          Overloaded          ask again, a little later
    502, 503, 504, no answer     Unavailable         ask again, or another replica
    424, 500, any other 5xx      EngineFault         once more at most, with another seed
    401, 403                     FailedPrecondition  EngineKeyRefused
    404, 405, a redirect         FailedPrecondition  EngineUnsuitable: it is another kind of server
    any other 4xx                InvalidInput        never again as it is
"""

import httpx2

from selfie.errors import FailedPrecondition, InvalidInput, Overloaded, SelfieError, Unavailable
from selfie.generation.engines import EngineFault

# Of what a server says about a mistake; it may be a page of HTML.
_LONGEST_MESSAGE = 500


def broken(error: Exception, where: str) -> Unavailable:
    """No answer came: refused, reset, or ended in the middle."""
    return Unavailable(f"{where}: {type(error).__name__}{f': {error}' if str(error) else ''}")


def unusable(where: str, problem: str) -> FailedPrecondition:
    """An answer came that is not what this kind of engine answers."""
    return FailedPrecondition("EngineAnswerUnusable", f"{where} gave {problem}; is it the engine meant?")


def refused(response: httpx2.Response, where: str) -> SelfieError:
    """What a status of 300 or more means."""
    status, text = response.status_code, message_of(response)
    said = f"{where} answered {status}: {text}" if text else f"{where} answered {status}"
    if status == 429:
        return Overloaded(said, retry_after_s=_retry_after_s(response))
    if status in (502, 503, 504):
        return Unavailable(said)
    if status == 424 or status >= 500:
        return EngineFault(said)
    if status in (401, 403):
        return FailedPrecondition(
            "EngineKeyRefused", f"{said}; give the engine's key (--engine-api-key-file)"
        )
    if status in (404, 405) or status < 400:
        return FailedPrecondition("EngineUnsuitable", f"{said}; name the engine that is really there")
    return InvalidInput("generation", said, "ask for what the engine takes, or start it with other limits")


def message_of(response: httpx2.Response) -> str:
    """What the server says: the error in its JSON, whichever way it writes that, or the text."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return " ".join(str(body).split())[:_LONGEST_MESSAGE]


def _retry_after_s(response: httpx2.Response) -> float:
    """Seconds that the server asks for; none of the engines here sends any, a proxy before them may."""
    try:
        return min(max(float(response.headers.get("retry-after", "0")), 0.0), 60.0)
    except ValueError:
        return 0.0
