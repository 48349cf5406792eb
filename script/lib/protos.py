"""Makes the Swift file of file descriptors from proto/. Run through script/protos."""

import base64
import os
import sys
import tempfile
import textwrap

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

SOURCE = "proto"
TARGET = "Sources/MidServer/RPC/Generated/FileDescriptors.swift"

HEAD = '''\
// Made by script/protos from the files in proto/. Change those, then run it again; never edit this.

/// The files in `proto/` as protobuf's own descriptors, for server reflection.
enum FileDescriptors {
  /// Each file as a serialized `google.protobuf.FileDescriptorProto` in base64, broken into lines; in the order of names.
  static let base64: [String] = [
'''


def names():
    """The names of all .proto files, as an import would write them."""
    found = []
    for folder, _, files in os.walk(SOURCE):
        found += [os.path.relpath(os.path.join(folder, file), SOURCE) for file in files if file.endswith(".proto")]
    return sorted(name.replace(os.sep, "/") for name in found)


def compiled(name):
    """A file's descriptor. Of the source information only the comments are kept, and those of our own files only."""
    with tempfile.TemporaryDirectory(prefix="mid-protos-") as folder:
        target = os.path.join(folder, "set")
        status = protoc.main(["protoc", f"-I{SOURCE}", "--include_source_info", f"--descriptor_set_out={target}", name])
        if status != 0:
            sys.exit(f"protos: protoc ended with {status} on {name}")
        with open(target, "rb") as file:
            descriptor = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[0]
    if name.startswith("grpc/reflection/"):
        descriptor.ClearField("source_code_info")
    else:
        commented = [
            location
            for location in descriptor.source_code_info.location
            if location.leading_comments or location.trailing_comments
        ]
        del descriptor.source_code_info.location[:]
        descriptor.source_code_info.location.extend(commented)
    return descriptor


def swift():
    """The whole Swift file."""
    entries = []
    for name in names():
        text = base64.b64encode(compiled(name).SerializeToString(deterministic=True)).decode()
        lines = textwrap.indent("\n".join(textwrap.wrap(text, 112)), "    ")
        entries.append(f'    // {name}\n    """\n{lines}\n    """,\n')
    return HEAD + "".join(entries) + "  ]\n}\n"


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--check"]):
        sys.exit(f"protos: unknown arguments {arguments}: --check is known")
    text = swift()
    if arguments:
        found = ""
        if os.path.exists(TARGET):
            with open(TARGET, encoding="utf-8") as file:
                found = file.read()
        if found != text:
            sys.exit(f"protos: {TARGET} is not what proto/ says; run script/protos")
        return
    with open(TARGET, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
