# SPDX-License-Identifier: Apache-2.0
"""The generator of Python stubs in grpcio-tools, as a plugin of protoc.

grpcio-tools has it built into a whole protoc of its own, and not as a program
that buf could run.
"""

import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from grpc_tools import protoc


def main() -> int:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    with tempfile.TemporaryDirectory() as name:
        files, out = pathlib.Path(name, "in.binpb"), pathlib.Path(name, "out")
        out.mkdir()
        files.write_bytes(descriptor_pb2.FileDescriptorSet(file=request.proto_file).SerializeToString())
        code = protoc.main(["protoc", f"--descriptor_set_in={files}", f"--grpc_python_out={out}",
                            *request.file_to_generate])
        if code != 0:
            return code
        for path in sorted(out.rglob("*.py")):
            response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text())
    sys.stdout.buffer.write(response.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
