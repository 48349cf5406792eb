"""Leaf's HTTP paths, field by field as its clients know them, failures too."""

import os
import re
import sqlite3
import time

import pytest

from http_client import Kept, ask
from load import assert_increasing, assert_unique
from programs import wait_until

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TEXT = "text/plain;charset=UTF-8"
JSON = "application/json;charset=UTF-8"


def leaf(mid, rows=(("orders", 1, 1000),), **options):
    """A server on a table of Leaf's, in SQLite."""
    server = mid(arguments=["--table", "leaf"], **options)
    with sqlite3.connect(f"{server.folder}/mid.db") as database:
        database.execute(
            "CREATE TABLE leaf_alloc (biz_tag TEXT PRIMARY KEY, max_id INTEGER NOT NULL DEFAULT 1, step INTEGER NOT NULL, "
            "description TEXT, update_time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        database.executemany("INSERT INTO leaf_alloc (biz_tag, max_id, step) VALUES (?, ?, ?)", rows)
    return server


def assert_failure(answer, path, number):
    """As Leaf's framework writes it."""
    assert answer.status == 500 and answer.type == JSON, answer.text
    found = answer.json
    assert sorted(found) == ["error", "message", "path", "status", "timestamp"]
    assert found["status"] == 500 and found["error"] == "Internal Server Error" and found["path"] == path
    assert found["message"] == f"Result{{id={number}, status=EXCEPTION}}"
    assert isinstance(found["timestamp"], int) and abs(found["timestamp"] / 1000 - time.time()) < 60


def test_ids_are_bare_text_by_any_method(mid):
    server = leaf(mid).start()
    for number, method in enumerate(METHODS, 1):
        answer = ask(server, "/api/segment/get/orders", method)
        assert (answer.status, answer.type, answer.body) == (200, TEXT, str(number).encode()), method
    head = ask(server, "/api/segment/get/orders", "HEAD")
    assert head.status == 200 and head.body == b"" and head.headers["content-length"] == "1"
    assert ask(server, "/api/segment/get/orders?x=1").text == "8"
    flakes = [ask(server, f"/api/snowflake/get/{key}", method) for key in ("orders", "nobody", "%20") for method in METHODS]
    assert all(re.fullmatch(r"[1-9]\d*", each.text) and each.status == 200 and each.type == TEXT for each in flakes)
    assert_increasing([int(each.text) for each in flakes], "snowflake")
    assert server.metric("id_generate_total", mode="segment") == 8


def test_two_hundred_thousand_ids_over_many_segments_repeat_none(mid):
    server = leaf(mid).start()
    kept = Kept(server)
    ids = [int(kept.ask("/api/segment/get/orders").text) for _ in range(20_000)]
    kept.close()
    assert_unique(ids)
    assert ids == list(range(1, 20_001))


def test_a_failure_is_leafs(mid, mariadb):
    server = leaf(mid).start()
    for key in ("nobody", "%E4%BD%A0", "a%20b", "x" * 129):
        assert_failure(ask(server, f"/api/segment/get/{key}"), f"/api/segment/get/{key}", -2)
    assert ask(server, "/api/segment/get/").status == 404
    server.process.stop()
    away = mid(store=mariadb.url, settings={**mariadb.settings, "MID_STORE_TIMEOUT": "1s", "MID_SEGMENT_MAX_WAIT": "1s"})
    mariadb.kill()
    away.launch()
    try:
        away.wait_for_health("segment", "NOT_SERVING", 20)
        assert_failure(ask(away, "/api/segment/get/orders"), "/api/segment/get/orders", -3)
        assert_failure(ask(away, "/api/snowflake/get/orders"), "/api/snowflake/get/orders", -1)
    finally:
        mariadb.start()


@pytest.mark.parametrize("zone, shown", [("Asia/Shanghai", "2019-09-06 09:35:00.834"), ("UTC", "2019-09-06 01:35:00.834")])
def test_an_id_is_taken_apart_as_leaf_does(mid, zone, shown):
    if not os.path.exists(f"/usr/share/zoneinfo/{zone}"):
        zone, shown = "CST-8", "2019-09-06 09:35:00.834"
    server = mid(settings={"MID_SNOWFLAKE_LAYOUT": "leaf"}).start(TZ=zone)
    number = (1567733700834 - 1288834974657) << 22 | 39 << 12 | 3448
    answer = ask(server, f"/decodeSnowflakeId?snowflakeId={number}")
    assert (answer.status, answer.type) == (200, JSON)
    assert answer.text == (
        f'{{"timestamp":"1567733700834({shown})","sequenceId":"3448","workerId":"39"}}'
    )
    for method in METHODS:
        fresh = int(ask(server, "/api/snowflake/get/x").text)
        found = ask(server, f"/decodeSnowflakeId?snowflakeId={fresh}", method).json
        assert int(found["sequenceId"]) == fresh & 4095 and int(found["workerId"]) == fresh >> 12 & 1023
        assert abs(int(found["timestamp"].split("(")[0]) / 1000 - time.time()) < 60
    # Any number is taken apart by shifts.
    below = ask(server, "/decodeSnowflakeId?snowflakeId=-1").json
    assert below["timestamp"].startswith("1288834974656(2010-11-0")
    assert (below["workerId"], below["sequenceId"]) == ("1023", "4095")
    assert ask(server, "/decodeSnowflakeId?snowflakeId=%2B4097").json["workerId"] == "1"
    for wrong in ("x", "", "9223372036854775808", "+5", "1.5", "1&snowflakeId=2"):
        answer = ask(server, f"/decodeSnowflakeId?snowflakeId={wrong}")
        assert answer.status == 200 and answer.json == {"errorMsg": "snowflake Id反解析发生异常!"}, wrong
    missing = ask(server, "/decodeSnowflakeId")
    assert missing.status == 400 and missing.type == JSON
    assert missing.json["message"] == "Required String parameter 'snowflakeId' is not present"


def cells(page):
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


def test_the_monitor_pages_show_what_is_cached_and_what_the_table_says(mid):
    server = leaf(mid, [("orders", 1, 1000), ("<b>&", 500, 20)]).start()
    page = ask(server, "/cache")
    assert page.status == 200 and page.type == "text/html;charset=UTF-8"
    head = ["name", "init", "next", "pos", "value0", "max0", "step0", "value1", "max1", "step1"]
    assert cells(page.text) == [head]
    assert ask(server, "/api/segment/get/orders").text == "1"
    assert cells(ask(server, "/cache").text)[1][:6] == ["orders", "true", "false", "0", "2", "1001"]
    for _ in range(150):
        ask(server, "/api/segment/get/orders")
    # The next segment comes beside the calls.
    wait_until(lambda: cells(ask(server, "/cache").text)[1][2] == "true", 10, "the next segment is there")
    row = cells(ask(server, "/cache").text)[1]
    assert row[4:6] == ["152", "1001"]
    assert int(row[7]) == 1001 and int(row[8]) > 1001
    rows = cells(ask(server, "/db").text)
    assert rows[0] == ["tag", "max_id", "step"]
    assert ["&lt;b&gt;&amp;", "500", "20"] in rows and len(rows) == 3


def test_the_pages_have_a_thousand_rows_and_say_how_many_tags_there_are(mid):
    server = leaf(mid, [(f"t{number}", 1, 10) for number in range(1000, 3500)]).start()
    page = ask(server, "/db").text
    assert len(cells(page)) == 1 + 1000 and "<p>The first 1000 of 2500 tags, by name.</p>" in page
    assert ["t1999", "1", "10"] in cells(page) and ["t2000", "1", "10"] not in cells(page)
