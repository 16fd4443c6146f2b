"""Compiles `proto/` into `services/selfie/v1`, or checks what is committed.

    python tools/protos.py generate      write the stubs
    python tools/protos.py check         lint with buf, generate elsewhere, compare

Imported files (`buf/validate`, `google/longrunning`) come as descriptors out of the installed
Python packages, so that neither a download nor a copy of them is needed.
"""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

from google.api import client_pb2
from google.longrunning import operations_proto_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.rpc import status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "proto"
sys.path.insert(0, str(ROOT / "services"))

from buf.validate import validate_pb2  # noqa: E402 - found by the line above


def imported_descriptors() -> bytes:
    """All imported files with their own imports, dependencies first."""
    found: dict[str, FileDescriptor] = {}

    def visit(descriptor: FileDescriptor) -> None:
        for dependency in descriptor.dependencies:
            visit(dependency)
        found.setdefault(descriptor.name, descriptor)

    for module in (client_pb2, status_pb2, operations_proto_pb2, validate_pb2):
        visit(module.DESCRIPTOR)
    result = descriptor_pb2.FileDescriptorSet()
    for descriptor in found.values():
        descriptor.CopyToProto(result.file.add())
    return result.SerializeToString()


def compile_protos(*outputs: str) -> None:
    """Runs protoc over every file of ours with the given output options."""
    with tempfile.TemporaryDirectory() as scratch:
        imports = Path(scratch, "imports.binpb")
        imports.write_bytes(imported_descriptors())
        sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("selfie/v1/*.proto"))
        arguments = ["protoc", f"-I{PROTO}", f"--descriptor_set_in={imports}", *outputs, *sources]
        if protoc.main(arguments) != 0:
            sys.exit("protoc failed")


def generate(target: Path) -> None:
    """Writes messages, services and their types below ``target``."""
    compile_protos(
        f"--python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--grpc_python_out={target}",
        f"--mypy_grpc_out=quiet:{target}",
    )
    Path(target, "selfie/v1/__init__.py").write_text('"""Generated from proto/ by `make proto`."""\n')


def lint() -> None:
    """Runs buf over an image that protoc built: buf itself could resolve imports only online."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "image.binpb")
        compile_protos("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        command = ["buf", "lint", str(image), "--config", str(PROTO / "buf.yaml"), "--path", "selfie"]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit("buf lint failed")


def check() -> None:
    """Fails when the committed stubs are not those of the committed protos."""
    lint()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh, committed = Path(scratch, "selfie/v1"), ROOT / "services/selfie/v1"
        names = {path.name for folder in (fresh, committed) for path in folder.glob("*.py*")}
        _, differ, missing = filecmp.cmpfiles(fresh, committed, sorted(names), shallow=False)
    if differ or missing:
        sys.exit(f"stale stubs, run `make proto`: {', '.join(sorted(differ + missing))}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["generate"]:
            generate(ROOT / "services")
        case ["check"]:
            check()
        case _:
            sys.exit(__doc__)
