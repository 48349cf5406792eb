"""Ids that are texts, by a real client and by `mid next` and `mid decode`."""

import concurrent.futures
import json
import re
import time
import uuid
from urllib.parse import quote

import grpc
import pytest

from http_client import ask
from programs import run_mid
from stubs import mid_pb2, method

PATTERNS = {
    "uuid1": r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "uuid4": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "uuid6": r"[0-9a-f]{8}-[0-9a-f]{4}-6[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "uuid7": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "objectid": r"[0-9a-f]{24}",
    "ulid": r"[0-7][0-9A-HJKMNP-TV-Z]{25}",
}


def batch(channel):
    return method(
        channel, "/mid.v1.IDService/GenerateBatch", mid_pb2.GenerateBatchRequest, mid_pb2.GenerateBatchResponse
    )


def test_batches_of_every_kind_are_distinct_and_of_their_form(mid):
    server = mid().start()
    with server.channel() as channel:
        for mode, pattern in PATTERNS.items():
            began = time.time()
            texts = batch(channel)(mid_pb2.GenerateBatchRequest(mode=mode, count=10_000), timeout=30).texts
            assert len(texts) == 10_000 == len(set(texts))
            assert all(re.fullmatch(pattern, text) for text in texts), mode
            if mode in ("uuid7", "objectid", "ulid"):
                assert list(texts) == sorted(texts)
            if mode == "uuid1":
                made = (uuid.UUID(texts[0]).time - 0x01B21DD213814000) / 1e7
                assert began - 2 < made < time.time() + 2
        with pytest.raises(grpc.RpcError) as refused:
            batch(channel)(mid_pb2.GenerateBatchRequest(mode="ulid", count=10_001), timeout=5)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_many_of_the_largest_batches_at_once_on_one_connection_all_succeed(mid):
    """Their answers take 3 MB, three times what one connection may have held for it."""
    server = mid().start()
    # The least window that there is, so that most of what is asked for has to wait in the server.
    options = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65535}
    with server.channel(**options) as channel:
        for mode, form in (("uuid7", ""), ("ulid", ""), ("uuid4", "base36"), ("segment", "hex"), ("snowflake", "base62")):
            call = batch(channel)
            request = mid_pb2.GenerateBatchRequest(mode=mode, count=10_000, format=form)
            calls = [call.future(request, timeout=60) for _ in range(8)]
            texts = [text for each in calls for text in each.result().texts]
            assert len(texts) == 80_000 == len(set(texts))
        streams = channel.stream_stream(
            "/mid.v1.IDService/StreamIDs",
            request_serializer=mid_pb2.GenerateBatchRequest.SerializeToString,
            response_deserializer=mid_pb2.GenerateBatchResponse.FromString,
        )
        for mode, form in (("objectid", ""), ("segment", "crockford-check")):
            request = mid_pb2.GenerateBatchRequest(mode=mode, count=10_000, format=form)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                read = pool.map(lambda _: list(streams(iter([request] * 4), timeout=60)), range(8))
                texts = [text for replies in read for reply in replies for text in reply.texts]
            assert len(texts) == 320_000 == len(set(texts))
    assert server.metric("mid_rpc_held_bytes") == 0


def test_a_stream_mixes_kinds(mid):
    server = mid().start()
    with server.channel() as channel:
        call = channel.stream_stream(
            "/mid.v1.IDService/StreamIDs",
            request_serializer=mid_pb2.GenerateBatchRequest.SerializeToString,
            response_deserializer=mid_pb2.GenerateBatchResponse.FromString,
        )
        modes = ["uuid7", "snowflake", "ulid", "segment", "objectid"] * 20
        requests = [mid_pb2.GenerateBatchRequest(mode=mode, count=1000) for mode in modes]
        replies = list(call(iter(requests), timeout=60))
        assert len(replies) == len(modes)
        for mode, reply in zip(modes, replies):
            if mode in PATTERNS:
                assert len(reply.texts) == 1000 and not reply.ranges
            else:
                assert sum(part.count for part in reply.ranges) == 1000 and not reply.texts
        texts = [text for mode, reply in zip(modes, replies) if mode == "uuid7" for text in reply.texts]
        assert texts == sorted(set(texts))


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = {
    "decimal": "0123456789",
    "hex": "0123456789abcdef",
    "base36": "0123456789" + LETTERS.lower(),
    "base62": "0123456789" + LETTERS + LETTERS.lower(),
    "crockford": CROCKFORD,
    "crockford-check": CROCKFORD,
}


def own_text(mode, text, form):
    """What the kind itself writes for a text in the digits of a format."""
    digits = text[:-1] if form == "crockford-check" else text
    number = 0
    for digit in digits:
        number = number * len(DIGITS[form]) + DIGITS[form].index(digit)
    if form == "crockford-check":
        assert (CROCKFORD + "*~$=U")[number % 37] == text[-1]
    if mode.startswith("uuid"):
        return str(uuid.UUID(int=number))
    if mode == "objectid":
        return f"{number:024x}"
    if mode == "ulid":
        return "".join(CROCKFORD[number >> 5 * place & 31] for place in reversed(range(26)))
    return str(number)


def test_every_format_of_every_mode_is_read_back_by_every_door(mid):
    server = mid().start()
    kinds = {mode: "uuid" if mode.startswith("uuid") else mode for mode in PATTERNS}
    kinds |= {"snowflake": "snowflake", "segment": "number", "ticket": "number"}
    with server.channel() as channel:
        ask_decode = method(channel, "/mid.v1.IDService/DecodeID", mid_pb2.DecodeIDRequest, mid_pb2.DecodeIDResponse)
        for mode, kind in kinds.items():
            for form in DIGITS:
                made = run_mid("next", "--server", server.address, "--mode", mode, "--format", form)
                assert made.returncode == 0, made.stderr
                text = made.stdout.strip()
                wanted = (kind, own_text(mode, text, form))
                for chosen in ("", kind):
                    printed = run_mid("decode", "--json", text, *(["--kind", chosen] if chosen else []))
                    assert printed.returncode == 0, (mode, form, text, printed.stderr)
                    answered = ask(server, f"/v1/decode/{quote(text)}" + (f"?kind={chosen}" if chosen else ""))
                    assert answered.status == 200, (mode, form, text, answered.text)
                    reply = ask_decode(mid_pb2.DecodeIDRequest(id=text, kind=chosen), timeout=5)
                    for readings, ambiguity in (
                        [(each["readings"], each["ambiguity"]) for each in (json.loads(printed.stdout), answered.json)]
                        + [([{"kind": r.kind, "canonical": r.canonical} for r in reply.readings], reply.ambiguity)]
                    ):
                        found = [(each["kind"], each["canonical"]) for each in readings]
                        assert wanted in found, (mode, form, text, found)
                        # What may be something else is said to be.
                        assert found[0] == wanted or ambiguity, (mode, form, text, found)
                        assert not chosen or {each for each, _ in found} == {kind}


def test_mid_next_prints_them_and_mid_decode_reads_them(mid):
    server = mid().start()
    for mode, pattern in PATTERNS.items():
        began = time.time()
        result = run_mid("next", "--server", server.address, "--mode", mode, "-n", 3)
        assert result.returncode == 0, result.stderr
        texts = result.stdout.split()
        assert len(set(texts)) == 3 and all(re.fullmatch(pattern, text) for text in texts)
        decoded = run_mid("decode", "--json", texts[0])
        assert decoded.returncode == 0, decoded.stderr
        reading = json.loads(decoded.stdout)["readings"][0]
        assert reading["canonical"] == texts[0]
        assert reading["kind"] == ("uuid" if mode.startswith("uuid") else mode)
        if mode != "uuid4":
            assert began - 2 < int(reading["unix_ms"]) / 1000 < time.time() + 2
    refused = run_mid("decode", "no-id")
    assert refused.returncode == 1 and "are no id that is known" in refused.stderr and not refused.stdout
