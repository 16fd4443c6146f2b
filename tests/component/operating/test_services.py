"""What the operator asks a run's own services, whose names come and go with their pods."""

from names_server import names_server
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie_operator.reconciling.services import Addresses, GrpcServices, RunPlace

AT = RunPlace("team", "4a97c6e1-63e3-41ac-9292-162fdfb23a35", "file:///artifacts/team/toy")


async def test_scoring_workers_are_found_at_once_however_long_they_were_not_there():
    service = Service(names=("selfie.v1.ScoringService",), register=lambda _: None)
    server = RunningServer(ServerSettings(port=0, drain_seconds=0), service)
    await server.start()
    async with names_server() as names:
        own = f"dns://127.0.0.1:{names.port}/{{name}}.{{namespace}}:{server.port}"
        services = GrpcServices(Addresses({}, own))
        # Each failed look-up makes a channel of gRPC's wait longer before the next, up to two minutes.
        looks = [await services.is_ready("scoring", AT) for _ in range(3)]
        names.address = "127.0.0.1"
        looks.append(await services.is_ready("scoring", AT))
        await services.close()
    await server.stop()
    assert looks == [False, False, False, True]
