"""The ports that people expect a scorer at, which they start by themselves."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

_USUAL_PORTS = {"--port": 50051, "--http-port": 8080, "--metrics-port": 9090}


def usual_ports(
    arguments: Sequence[str], environment: Mapping[str, str], *, serves_http: bool | None = None
) -> list[str]:
    """Flags for the ports that people expect a scorer at, except those that were chosen otherwise.

    HTTP is served where what it takes is installed, unless ``serves_http`` says.
    """
    found: list[str] = []
    for flag, port in _USUAL_PORTS.items():
        given = any(argument == flag or argument.startswith(f"{flag}=") for argument in arguments)
        if not given and f"SELFIE_{flag[2:].replace('-', '_').upper()}" not in environment:
            found += [flag, str(port)]
    if serves_http is None:
        serves_http = find_spec("connectrpc") is not None
    return found if serves_http else [each for each in found if each not in ("--http-port", "8080")]
