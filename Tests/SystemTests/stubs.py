"""Python stubs of the services, generated from proto/ when the tests start, and callables over raw bytes."""

import os
import sys
import tempfile

from grpc_tools import protoc

from programs import ROOT

_folder = tempfile.TemporaryDirectory(prefix="mid-stubs-")
_protos = ["pb/id.proto", "mid/v1/mid.proto", "grpc/health/v1/health.proto"]
_include = os.path.join(ROOT, "proto")
# The stubs of the health service would lie in a package named `grpc`, so they are compiled under another folder name.
os.makedirs(os.path.join(_folder.name, "in", "midhealth"))
for _name in _protos:
    _target = _name.replace("grpc/health/v1/", "midhealth/")
    os.makedirs(os.path.join(_folder.name, "in", os.path.dirname(_target)), exist_ok=True)
    with open(os.path.join(_include, _name), encoding="utf-8") as _source:
        with open(os.path.join(_folder.name, "in", _target), "w", encoding="utf-8") as _copy:
            _copy.write(_source.read())
_status = protoc.main(
    ["protoc", f"-I{_folder.name}/in", f"--python_out={_folder.name}"]
    + [_name.replace("grpc/health/v1/", "midhealth/") for _name in _protos]
)
assert _status == 0, f"protoc ended with {_status}"
sys.path.insert(0, _folder.name)

from midhealth import health_pb2  # noqa: E402
from mid.v1 import mid_pb2  # noqa: E402
from pb import id_pb2  # noqa: E402

__all__ = ["health_pb2", "mid_pb2", "id_pb2", "method", "make_id", "generate_id", "generate_batch", "stream_ids"]


def method(channel, path, request, response):
    """A callable for one unary method."""
    return channel.unary_unary(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )


def make_id(channel):
    """The original's method: takes a mode, gives an id."""
    call = method(channel, "/pb.IDMaker/MakeIDService", id_pb2.IDRequest, id_pb2.IDResponse)
    return lambda mode, **options: call(id_pb2.IDRequest(mode=mode), **options).id


def generate_id(channel):
    call = method(channel, "/mid.v1.IDService/GenerateID", mid_pb2.GenerateIDRequest, mid_pb2.GenerateIDResponse)
    return lambda mode, tag="", **options: call(mid_pb2.GenerateIDRequest(mode=mode, tag=tag), **options).id


def generate_batch(channel):
    """Takes mode, tag and count, gives the ranges as (start, stride, count)."""
    call = method(
        channel, "/mid.v1.IDService/GenerateBatch", mid_pb2.GenerateBatchRequest, mid_pb2.GenerateBatchResponse
    )

    def generate(mode, count, tag="", **options):
        answer = call(mid_pb2.GenerateBatchRequest(mode=mode, tag=tag, count=count), **options)
        return [(item.start, item.stride, item.count) for item in answer.ranges]

    return generate


def stream_ids(channel):
    """Takes an iterator of requests (mode, tag, count), gives the call: an iterator over responses."""
    call = channel.stream_stream(
        "/mid.v1.IDService/StreamIDs",
        request_serializer=lambda request: mid_pb2.GenerateBatchRequest(
            mode=request[0], tag=request[1], count=request[2]
        ).SerializeToString(),
        response_deserializer=mid_pb2.GenerateBatchResponse.FromString,
    )
    return lambda requests, **options: call(requests, **options)
