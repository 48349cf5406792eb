"""Server reflection: what is told is what proto/ says, and grpcurl calls everything with no files."""

import json
import os
import subprocess
import sys

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

from programs import ROOT

GRPCURL = os.path.join(os.path.dirname(sys.executable), "grpcurl")
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "mid.v1.IDService",
    "pb.IDMaker",
]
VERSIONS = ["v1", "v1alpha"]


@pytest.fixture
def server(mid):
    return mid().start()


def reflection(channel, version):
    """The call of one version. Both have the same messages under different names."""
    return channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


class Database(ProtoReflectionDescriptorDatabase):
    """grpcio's own client, by either version."""

    def __init__(self, channel, version):
        super().__init__(channel)
        call = reflection(channel, version)
        self._stub.ServerReflectionInfo = lambda requests: call(requests, timeout=10)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The files in proto/ as protoc makes them now, by name."""
    source = os.path.join(ROOT, "proto")
    names = [
        os.path.relpath(os.path.join(folder, file), source)
        for folder, _, files in os.walk(source)
        for file in files
        if file.endswith(".proto")
    ]
    target = tmp_path_factory.mktemp("protos") / "set"
    assert protoc.main(["protoc", f"-I{source}", f"--descriptor_set_out={target}", *names]) == 0
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file}


def symbols(file):
    """Every name that a file declares, found by protobuf's own pool."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindFileByName(file.name)
    found = []

    def add_enum(enum, scope):
        found.append(enum.full_name)
        found.extend(f"{scope}.{value.name}" for value in enum.values)

    def add_message(each):
        found.append(each.full_name)
        found.extend(field.full_name for field in each.fields)
        found.extend(oneof.full_name for oneof in each.oneofs)
        for enum in each.enum_types:
            add_enum(enum, each.full_name)
        for nested in each.nested_types:
            add_message(nested)

    for each in descriptor.message_types_by_name.values():
        add_message(each)
    for enum in descriptor.enum_types_by_name.values():
        add_enum(enum, descriptor.package)
    for service in descriptor.services_by_name.values():
        found.append(service.full_name)
        found.extend(each.full_name for each in service.methods)
    return found


def test_the_committed_descriptors_are_in_step_with_proto():
    result = subprocess.run(
        [os.path.join(ROOT, "script", "protos"), "--check"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_grpcios_client_finds_every_service_file_and_symbol(server, compiled, version):
    with server.channel() as channel:
        database = Database(channel, version)
        assert list(database.get_services()) == SERVICES
        count = 0
        for name, file in compiled.items():
            told = Database(channel, version).FindFileByName(name)
            told.ClearField("source_code_info")
            assert told == file
            for symbol in symbols(file):
                assert Database(channel, version).FindFileContainingSymbol(symbol).name == name, symbol
                count += 1
        assert count > 80
        for symbol in ("nobody", "mid.v1", "mid.v1.IDService.Nothing", ""):
            with pytest.raises(KeyError):
                database.FindFileContainingSymbol(symbol)
        # Protobuf's own method answers from what is there already, without asking the server.
        extension = reflection_pb2.ExtensionRequest(containing_type="mid.v1.IDRange", extension_number=100)
        with pytest.raises(KeyError):
            database._do_one_request(reflection_pb2.ServerReflectionRequest(file_containing_extension=extension), "")
        with pytest.raises(KeyError):
            database.FindAllExtensionNumbers("nobody")
        assert list(database.FindAllExtensionNumbers("mid.v1.IDRange")) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_files_calls_by_what_it_was_told(server, version):
    with server.channel() as channel:
        pool = descriptor_pool.DescriptorPool(Database(channel, version))
        method = pool.FindServiceByName("mid.v1.IDService").FindMethodByName("GenerateID")
        request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
        call = channel.unary_unary(
            "/mid.v1.IDService/GenerateID",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        assert call(request(mode="segment"), timeout=5).id == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_many_questions_of_one_call_are_answered_in_order(server, version):
    questions = [
        {"list_services": "*"},
        {"file_containing_symbol": "nobody"},
        {"file_by_filename": "pb/id.proto"},
        {},
        {"all_extension_numbers_of_type": "pb.IDRequest"},
    ] * 100
    requests = [
        reflection_pb2.ServerReflectionRequest(host=f"host{number}", **question)
        for number, question in enumerate(questions)
    ]
    with server.channel() as channel:
        responses = list(reflection(channel, version)(iter(requests), timeout=20))
    assert [response.original_request for response in responses] == requests
    assert [response.valid_host for response in responses] == [request.host for request in requests]
    kinds = [response.WhichOneof("message_response") for response in responses[:5]]
    assert kinds == [
        "list_services_response",
        "error_response",
        "file_descriptor_response",
        "error_response",
        "all_extension_numbers_response",
    ]
    assert [responses[index].error_response.error_code for index in (1, 3)] == [
        grpc.StatusCode.NOT_FOUND.value[0],
        grpc.StatusCode.INVALID_ARGUMENT.value[0],
    ]


def test_reflection_can_be_turned_off(mid):
    server = mid(settings={"MID_GRPC_REFLECTION": "off"}).start()
    with server.channel() as channel:
        for version in VERSIONS:
            with pytest.raises(grpc.RpcError) as caught:
                next(reflection(channel, version)(iter([reflection_pb2.ServerReflectionRequest()]), timeout=5))
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert server.health(f"grpc.reflection.{version}.ServerReflection") == "NOT_FOUND"


# MARK: grpcurl


def grpcurl(server, *arguments, stdin=None):
    """Runs grpcurl, a Go client, against the server, with no files."""
    return subprocess.run(
        [GRPCURL, "-plaintext", "-max-time", "20", *arguments[:-1], server.address, *arguments[-1].split()],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
    )


def answers(result):
    """The replies, which grpcurl prints as one JSON object after the other."""
    assert result.returncode == 0, result.stderr
    decoder, text, found = json.JSONDecoder(), result.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


has_grpcurl = pytest.mark.skipif(not os.path.exists(GRPCURL), reason="grpcurl has no package for this machine")


@has_grpcurl
def test_grpcurl_lists_and_describes_everything(server):
    listed = grpcurl(server, "list")
    assert (listed.returncode, listed.stdout.split()) == (0, SERVICES), listed.stderr
    methods = grpcurl(server, "list mid.v1.IDService")
    assert methods.stdout.split() == [f"mid.v1.IDService.{name}" for name in ("DecodeID", "GenerateBatch", "GenerateID", "StreamIDs")]
    for service in SERVICES:
        described = grpcurl(server, f"describe {service}")
        assert described.returncode == 0 and f"{service} is a service" in described.stdout, described.stderr
    described = grpcurl(server, "describe mid.v1.IDService")
    assert "rpc StreamIDs ( stream .mid.v1.GenerateBatchRequest ) returns ( stream .mid.v1.GenerateBatchResponse );" in (
        described.stdout
    )
    # With the comments of the .proto file.
    assert "// Many ids, as ranges." in described.stdout
    assert "is a message" in grpcurl(server, "describe mid.v1.IDRange").stdout
    assert "is an enum" in grpcurl(server, "describe grpc.health.v1.HealthCheckResponse.ServingStatus").stdout
    unknown = grpcurl(server, "describe mid.v1.Nothing")
    assert unknown.returncode != 0 and "not found" in unknown.stderr.lower()


@has_grpcurl
def test_grpcurl_calls_every_method_with_no_files(server):
    def call(method, request, **options):
        return answers(grpcurl(server, "-d", request, method, **options))

    assert call("pb.IDMaker/MakeIDService", '{"mode": "segment"}') == [{"id": "1"}]
    assert int(call("mid.v1.IDService/GenerateID", '{"mode": "snowflake"}')[0]["id"]) > 0
    batch = call("mid.v1.IDService/GenerateBatch", '{"mode": "segment", "count": 5}')
    assert batch == [{"ranges": [{"start": "2", "stride": "1", "count": 5}]}]
    requests = "".join(f'{{"mode": "segment", "tag": "default", "count": {count}}}\n' for count in (10, 1, 100))
    streamed = call("mid.v1.IDService/StreamIDs", "@", stdin=requests)
    assert [(each["ranges"][0]["start"], each["ranges"][0]["count"]) for each in streamed] == [
        ("7", 10),
        ("17", 1),
        ("18", 100),
    ]
    (decoded,) = call("mid.v1.IDService/DecodeID", '{"id": "1169786042799259000", "layout": "leaf"}')
    assert (decoded["readings"][0]["worker"], decoded["readings"][0]["sequence"]) == ("39", "3448")
    assert call("grpc.health.v1.Health/Check", '{"service": "segment"}') == [{"status": "SERVING"}]
    for version in VERSIONS:
        (told,) = call(f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", '{"list_services": ""}')
        assert [each["name"] for each in told["listServicesResponse"]["service"]] == SERVICES


@has_grpcurl
def test_grpcurl_shows_the_servers_errors(server):
    result = grpcurl(server, "-d", '{"mode": "uuid-9000"}', "mid.v1.IDService/GenerateID")
    assert result.returncode != 0
    assert "Code: InvalidArgument" in result.stderr and "allowed: snowflake, segment, ticket" in result.stderr
    result = grpcurl(server, "-d", '{"service": "segment"}', "grpc.health.v1.Health/Watch")
    assert "Code: Unimplemented" in result.stderr
