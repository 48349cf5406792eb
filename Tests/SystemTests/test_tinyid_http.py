"""Tinyid's HTTP paths and tokens, field by field, and its client's algorithm over a million ids."""

import sqlite3
import threading
import urllib.parse

import pytest

from http_client import Kept, ask
from load import assert_increasing, assert_unique
from oldservers import TINY_ID_INFO
from programs import free_port, wait_until

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
JSON = "application/json;charset=UTF-8"
TEXT = "text/plain;charset=UTF-8"
TOKEN = "0f673adf80504e2eaa552f5d791b644c"
WRONG = '{"data":null,"code":5,"message":"token is error"}'


def tinyid(mid, rows=(("test", 1, 100_000, 1, 0),), tokens=((TOKEN, "test"),), **options):
    """A server on tables of Tinyid's, in SQLite; a row is biz_type, max_id, step, delta, remainder."""
    server = mid(arguments=["--table", "tinyid"], **options)
    make_database(f"{server.folder}/mid.db", rows, tokens)
    return server


def make_database(name, rows, tokens):
    with sqlite3.connect(name) as database:
        database.execute(
            "CREATE TABLE tiny_id_info (id INTEGER PRIMARY KEY, biz_type TEXT NOT NULL UNIQUE, begin_id INTEGER NOT NULL "
            "DEFAULT 0, max_id INTEGER NOT NULL DEFAULT 0, step INTEGER DEFAULT 0, delta INTEGER NOT NULL DEFAULT 1, "
            "remainder INTEGER NOT NULL DEFAULT 0, create_time TEXT, update_time TEXT, version INTEGER NOT NULL DEFAULT 0)"
        )
        database.executemany(
            "INSERT INTO tiny_id_info (biz_type, max_id, step, delta, remainder) VALUES (?, ?, ?, ?, ?)", rows
        )
        if tokens is not None:
            make_tokens(database, tokens)
    database.close()


def make_tokens(database, tokens):
    database.execute(
        "CREATE TABLE tiny_id_token (id INTEGER PRIMARY KEY, token TEXT NOT NULL, biz_type TEXT NOT NULL, remark TEXT, "
        "create_time TEXT, update_time TEXT)"
    )
    database.executemany("INSERT INTO tiny_id_token (token, biz_type) VALUES (?, ?)", tokens)


def path(name, **fields):
    fields = {"bizType": "test", "token": TOKEN, **fields}
    return f"/tinyid/id/{name}?" + urllib.parse.urlencode({key: value for key, value in fields.items() if value is not None})


def test_the_four_paths_answer_byte_for_byte(mid):
    server = tinyid(mid).start()
    for name, number, body, kind in (
        ("nextId", None, b'{"data":[2],"code":200,"message":""}', JSON),
        ("nextIdSimple", None, b"3", TEXT),
        ("nextIdSimple", 3, b"4,5,6", TEXT),
        ("nextId", 2, b'{"data":[7,8],"code":200,"message":""}', JSON),
        ("nextId", "", b'{"data":[9],"code":200,"message":""}', JSON),
        ("nextId", 0, b'{"data":[],"code":200,"message":""}', JSON),
        ("nextId", -7, b'{"data":[],"code":200,"message":""}', JSON),
        ("nextIdSimple", 0, b"", TEXT),
    ):
        answer = ask(server, path(name, batchSize=number))
        assert (answer.status, answer.type, answer.body) == (200, kind, body), (name, number)
    # What is left of the step that ids were taken from, then whole ones.
    first = ask(server, path("nextSegmentId"))
    assert first.status == 200 and first.type == JSON
    found = first.json
    assert list(found) == ["data", "code", "message"] and (found["code"], found["message"]) == (200, "")
    data = found["data"]
    assert list(data) == ["currentId", "loadingId", "maxId", "delta", "remainder"]
    assert data["currentId"] == 9 and data["maxId"] == 100_001 and data["loadingId"] - data["currentId"] == 19_998
    assert (data["delta"], data["remainder"]) == (1, 0)
    second = ask(server, path("nextSegmentIdSimple"))
    assert (second.status, second.type) == (200, TEXT)
    start = data["maxId"]
    assert second.text == f"{start},{start + 20_000},{start + 100_000},1,0"
    # More than the most is the most.
    many = ask(server, path("nextIdSimple", batchSize=100_001)).text.split(",")
    assert len(many) == 100_000
    assert ask(server, path("nextId", batchSize="x")).status == 400


def test_fields_come_in_the_query_or_in_a_form_by_any_method(mid):
    server = tinyid(mid).start()
    for number, method in enumerate(METHODS, 2):
        assert ask(server, path("nextIdSimple"), method).text == str(number)
    form = urllib.parse.urlencode({"bizType": "test", "token": TOKEN, "batchSize": 2})
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    assert ask(server, "/tinyid/id/nextIdSimple", "POST", form, kind).text == "8,9"
    assert ask(server, "/tinyid/id/nextIdSimple?batchSize=3", "POST", form, kind).text == "10,11,12"
    # A body of another type is none of ours.
    assert ask(server, "/tinyid/id/nextId", "POST", form, {"Content-Type": "text/plain"}).text == WRONG


def test_a_token_is_good_for_its_tag_and_is_never_written_down(mid):
    secret = "s3cr3t-of-orders"
    server = tinyid(
        mid,
        rows=(("test", 1, 100, 1, 0), ("orders", 1, 100, 1, 0)),
        tokens=((TOKEN, "test"), (secret, "orders"), (secret, "nobody")),
        settings={"MID_LOG_LEVEL": "trace", "MID_SEGMENT_TAG_REFRESH": "1s"},
    ).start()
    for name, biz, token in (
        ("nextId", "test", secret),
        ("nextId", "orders", TOKEN),
        ("nextId", "test", None),
        ("nextId", "test", ""),
        ("nextId", None, TOKEN),
        ("nextId", "", TOKEN),
        ("nextId", "test", TOKEN + "x"),
        ("nextId", "test", TOKEN[:-1]),
        ("nextId", "test", TOKEN.upper()),
        ("nextId", "test", TOKEN * 2),
        ("nextSegmentId", "test", secret),
    ):
        answer = ask(server, path(name, bizType=biz, token=token))
        assert (answer.status, answer.type, answer.text) == (200, JSON, WRONG), (name, biz, token)
        simple = ask(server, path(name + "Simple", bizType=biz, token=token))
        assert (simple.status, simple.body) == (200, b"")
    assert ask(server, path("nextIdSimple", bizType="orders", token=secret)).text == "2"
    # With a good token and no row.
    unknown = ask(server, path("nextId", bizType="nobody", token=secret))
    assert unknown.status == 200 and unknown.text == '{"data":null,"code":6,"message":"can not find biztype:nobody"}'
    assert ask(server, path("nextIdSimple", bizType="nobody", token=secret)).body == b""
    for none in (0, -1):
        answer = ask(server, path("nextId", bizType="nobody", token=secret, batchSize=none))
        assert answer.status == 200 and answer.text == unknown.text
        assert ask(server, path("nextIdSimple", bizType="nobody", token=secret, batchSize=none)).body == b""
    # The table is read again.
    with sqlite3.connect(f"{server.folder}/mid.db") as database:
        database.execute("UPDATE tiny_id_token SET token = 'n3w-s3cr3t' WHERE biz_type = 'orders'")
    database.close()
    wait_until(
        lambda: ask(server, path("nextIdSimple", bizType="orders", token="n3w-s3cr3t")).text != "", 15, "the new token counts"
    )
    assert ask(server, path("nextId", bizType="orders", token=secret)).text == WRONG
    assert server.process.stop() == 0
    for word in (secret, TOKEN, "n3w-s3cr3t"):
        assert word not in server.process.output()


def test_without_a_table_nobody_has_a_token_and_off_asks_for_none(mid):
    server = tinyid(mid, tokens=None).start()
    assert ask(server, path("nextId")).text == WRONG
    (line,) = [line for line in server.logs() if line["message"] == "tokens not read"]
    assert "tiny_id_token" in line["error"]
    server.process.stop()
    server.start(MID_HTTP_TINYID_TOKENS="off")
    assert ask(server, path("nextIdSimple", token=None)).text == "2"


def test_tinyid_on_a_port_of_its_own(mid):
    server = tinyid(mid)
    port = free_port()
    server.settings["MID_HTTP_TINYID_ADDRESS"] = f"127.0.0.1:{port}"
    server.start()
    assert f"Tinyid   http://127.0.0.1:{port}" in server.process.greeting()
    assert ask(server, path("nextIdSimple"), port=port).text == "2"
    assert ask(server, path("nextIdSimple")).text == "3"
    assert ask(server, "/healthz", port=port).status == 200
    assert ask(server, "/v1/ids/segment", port=port).status == 404
    assert server.process.stop() == 0


class Client:
    """Walks through segments as Tinyid's client does: the one that serves, the next once `loadingId` is reached."""

    def __init__(self, server, simple):
        self.kept = Kept(server)
        self.simple = simple
        self.current = self.fetch()
        self.next = None
        self.segments = 1

    def fetch(self):
        if self.simple:
            numbers = self.kept.ask(path("nextSegmentIdSimple")).text.split(",")
            at, loading, end, delta, remainder = map(int, numbers)
        else:
            data = self.kept.ask(path("nextSegmentId")).json["data"]
            at, loading, end, delta, remainder = (
                data[key] for key in ("currentId", "loadingId", "maxId", "delta", "remainder")
            )
        # To where the first step leads to the first id above: one step before it.
        while at % delta != remainder:
            at += 1
            if at % delta == remainder:
                at -= delta
                break
        return [at, loading, end, delta]

    def take(self, count):
        ids = []
        while len(ids) < count:
            at, loading, end, delta = self.current
            at += delta
            if at > end:
                self.current = self.next or self.fetch()
                self.next = None
                self.segments += 1
                continue
            self.current[0] = at
            if at >= loading and self.next is None:
                self.next = self.fetch()
            ids.append(at)
        return ids


@pytest.mark.parametrize("delta, remainder, mark", [(1, 0, 1), (2, 1, 0), (3, 2, 7), (3, 0, 1)])
def test_tinyids_client_hands_out_a_million_ids_and_none_twice(mid, delta, remainder, mark):
    """Two clients by segments of their own, and a caller of nextId beside them, from one row."""
    server = tinyid(mid, rows=(("test", mark, 100_000, delta, remainder),)).start()
    clients = [Client(server, simple) for simple in (False, True)]
    results = {}

    def walk(index):
        results[index] = clients[index].take(475_000)

    def call():
        kept = Kept(server)
        ids = []
        while len(ids) < 50_000:
            ids += map(int, kept.ask(path("nextIdSimple", batchSize=500)).text.split(","))
        results["calls"] = ids

    threads = [threading.Thread(target=walk, args=(index,)) for index in range(2)] + [threading.Thread(target=call)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, ids in results.items():
        assert_increasing(ids, index)
        assert all(each % delta == remainder for each in ids)
    ids = [each for group in results.values() for each in group]
    assert len(ids) == 1_000_000
    assert_unique(ids)
    print(f"{len(ids)} ids in {sum(client.segments for client in clients)} segments, up to {max(ids)}")


@pytest.mark.parametrize("way", ["stripes", "shards"])
def test_several_databases_have_a_token_where_any_of_them_has(mid, way):
    """The store's own database, which worker ids are leased from, has nothing to do with it."""
    delta = 2 if way == "stripes" else 1
    server = tinyid(mid, rows=(("test", 500_000, 1000, 1, 0),), tokens=(("of-the-store", "test"),))
    names = [f"{server.folder}/{name}.db" for name in "ab"]
    for number, (name, token) in enumerate(zip(names, ("first", "second"))):
        make_database(name, (("test", 0, 1000 * delta, delta, number if delta > 1 else 0),), ((token, "test"),))
    urls = [f"sqlite:{name}" for name in names]
    if way == "stripes":
        server.settings["MID_SEGMENT_STRIPES"] = ",".join(urls)
    else:
        server.settings["MID_SEGMENT_SHARDS"] = f"a={urls[0]},b={urls[1]}"
    server.start()
    ids = []
    for token in ("first", "second"):
        data = ask(server, path("nextSegmentId", token=token)).json["data"]
        assert data["delta"] == delta and data["maxId"] - data["currentId"] == 1000 * delta
        ids += range(data["currentId"] + 1, data["maxId"] + 1, delta)
        assert all(each % delta == data["remainder"] for each in ids[-1000:])
    assert_unique(ids)
    assert max(ids) < 500_000
    assert ask(server, path("nextId", token="of-the-store")).text == WRONG
    assert server.process.stop() == 0


def test_tokens_of_mariadb(mid, mariadb):
    mariadb.query(
        f"{TINY_ID_INFO}; INSERT INTO tiny_id_info (biz_type, begin_id, max_id, step, delta, remainder) "
        "VALUES ('test', 1, 1, 1000, 1, 0); "
        "CREATE TABLE tiny_id_token (id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, token varchar(255) NOT NULL "
        "DEFAULT '', biz_type varchar(63) NOT NULL DEFAULT '', remark varchar(255) NOT NULL DEFAULT '', "
        "create_time timestamp NOT NULL DEFAULT '2010-01-01 00:00:00', update_time timestamp NOT NULL DEFAULT "
        "'2010-01-01 00:00:00'); "
        f"INSERT INTO tiny_id_token (token, biz_type) VALUES ('{TOKEN}', 'test'), ('', 'test')"
    )
    server = mid(store=mariadb.url, arguments=["--table", "tinyid"], settings=mariadb.settings).start(ready=["segment"])
    assert ask(server, path("nextId")).text == '{"data":[2],"code":200,"message":""}'
    assert ask(server, path("nextId", token="")).text == WRONG
    assert ask(server, path("nextId", token="x")).text == WRONG
    found = ask(server, path("nextSegmentId")).json["data"]
    assert (found["currentId"], found["maxId"]) == (2, 1001)
    # Enough of the next step for the one after it to be loaded.
    assert ask(server, path("nextIdSimple", batchSize=200)).text.startswith("1002,")
    wait_until(lambda: server.metric("mid_segment_ids_left", tag="test", buffer="standby"), 20, "the step after it")
    # The tokens that were read go on to count while the database is away, and so do cached ids, in segments too.
    mariadb.kill()
    try:
        assert ask(server, path("nextIdSimple")).text == "1202"
        ends = [1202]
        for _ in range(20):
            away = ask(server, path("nextSegmentId"), timeout=30)
            assert away.status == 200
            data = away.json["data"]
            if data is None:
                break
            assert data["currentId"] == ends[-1]
            ends.append(data["maxId"])
        assert data is None and away.json["code"] == 6 and len(ends) > 2
        assert ask(server, path("nextSegmentIdSimple"), timeout=30).body == b""
    finally:
        mariadb.start()
