"""The ports that people expect a scorer at, which they start by themselves."""

from collections.abc import Mapping, Sequence

_USUAL_PORTS = {"--port": 50051, "--http-port": 8080, "--metrics-port": 9090}


def usual_ports(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Flags for the ports that people expect a scorer at, except those that were chosen otherwise."""
    found: list[str] = []
    for flag, port in _USUAL_PORTS.items():
        given = any(argument == flag or argument.startswith(f"{flag}=") for argument in arguments)
        if not given and f"SELFIE_{flag[2:].replace('-', '_').upper()}" not in environment:
            found += [flag, str(port)]
    return found
