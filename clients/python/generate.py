"""Makes src/missioncontrol/ from proto/ of the repository: `python generate.py [folder]`, with grpcio-tools and buf (npm ci)."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

here = Path(__file__).resolve().parent
repository = here.parents[1]
gate = "missioncontrol/gate/v1/gate.proto"


def generate(target: Path) -> None:
    with TemporaryDirectory() as folder:
        built = Path(folder) / "all.binpb"
        buf = repository / "node_modules" / ".bin" / "buf"
        arguments = ["build", ".", "--as-file-descriptor-set", "--exclude-source-info", "-o", str(built)]
        subprocess.run([str(buf), *arguments], cwd=repository, check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(built.read_bytes())
        stripped = Path(folder) / "gate.binpb"
        stripped.write_bytes(without_options(files).SerializeToString())
        outputs = [f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}"]
        if protoc.main(["protoc", f"--descriptor_set_in={stripped}", *outputs, gate]) != 0:
            raise SystemExit("protoc failed")


def without_options(files: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """What the wire needs: without the server's rules, whose files the client would have to bring along."""
    kept = descriptor_pb2.FileDescriptorSet()
    for file in files.file:
        if file.name.startswith("google/protobuf/timestamp"):
            kept.file.append(file)
        if file.name != gate:
            continue
        del file.dependency[:]
        file.dependency.append("google/protobuf/timestamp.proto")
        for message in file.message_type:
            for part in [*message.field, *message.oneof_decl]:
                part.ClearField("options")
        for service in file.service:
            for method in service.method:
                method.ClearField("options")
        kept.file.append(file)
    return kept


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "src")
