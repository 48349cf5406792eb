"""The tables of other systems: mid beside the system that made them, and moving away from them."""

import json
import threading
import time

import pytest

from load import assert_increasing, assert_unique
from oldservers import LEAF_ALLOC, TINY_ID_INFO, Leaf, Tinyid
from programs import run_mid, wait_until
from stubs import generate_batch, generate_id
from together import at_once

TAG = "orders"
STEP = 1000

# By dialect: the table, the columns of the row, its values, and a server of the old system.
TABLES = {
    "leaf": (
        LEAF_ALLOC,
        f"INSERT INTO leaf_alloc (biz_tag, max_id, step) VALUES ('{TAG}', 1, {STEP})",
        lambda mariadb: Leaf(mariadb, TAG),
    ),
    "leaf-segment": (
        LEAF_ALLOC.replace("leaf_alloc", "leaf-segment").replace("`description`", "`desc`"),
        f"INSERT INTO `leaf-segment` (biz_tag, max_id, step) VALUES ('{TAG}', 1, {STEP})",
        lambda mariadb: Leaf(mariadb, TAG, "leaf-segment"),
    ),
    # Every third number, with a mark that is none of them.
    "tinyid": (
        TINY_ID_INFO,
        "INSERT INTO tiny_id_info (biz_type, begin_id, max_id, step, delta, remainder) "
        f"VALUES ('{TAG}', 1, 1, {3 * STEP}, 3, 2)",
        lambda mariadb: Tinyid(mariadb, TAG),
    ),
}


def prepare(mariadb, dialect):
    table, row, old = TABLES[dialect]
    mariadb.query(f"{table}; {row}")
    return old


def serve(mid, mariadb, dialect):
    # Loads of the table's step, and none ahead, so that both take turns.
    settings = {**mariadb.settings, "MID_SEGMENT_MAX_LOAD": "1", "MID_SEGMENT_OUTAGE": "0s"}
    server = mid(store=mariadb.url, arguments=["--table", dialect], settings=settings)
    server.launch()
    server.wait_for_health("segment", "SERVING", 20)
    return server


def take_from(server, count):
    """`count` ids from mid by batches, as ids in their order."""
    ids = []
    with server.channel() as channel:
        batch = generate_batch(channel)
        while len(ids) < count:
            for start, stride, size in batch("segment", min(STEP, count - len(ids)), TAG, timeout=10):
                ids.extend(range(start, start + stride * size, stride))
    return ids


def turns(groups):
    """How often the owner changes along the ids of several owners."""
    owners = [owner for _, owner in sorted((each, owner) for owner, ids in enumerate(groups) for each in ids[::STEP // 2])]
    return sum(1 for before, after in zip(owners, owners[1:]) if before != after)


@pytest.mark.parametrize("dialect", TABLES)
def test_an_old_server_and_mid_issue_a_million_ids_each_at_once_from_one_row(dialect, mid, mariadb):
    count = 1_000_000
    old = prepare(mariadb, dialect)
    servers = [old(mariadb), old(mariadb)]
    server = serve(mid, mariadb, dialect)
    begin = time.monotonic()
    results = at_once(
        *(lambda each=each: each.take(count // 2) for each in servers),
        *(lambda: take_from(server, count // 2) for _ in range(2)),
    )
    seconds = time.monotonic() - begin
    for each in servers:
        each.close()
    olds, ours = results[:2], results[2:]
    for number, ids in enumerate(results):
        assert_increasing(ids, f"{dialect}, caller {number}")
    everything = [each for ids in results for each in ids]
    assert sum(map(len, olds)) >= count and sum(map(len, ours)) == count
    assert_unique(everything)
    if dialect == "tinyid":
        assert all(each % 3 == 2 for each in everything)
        # Every change of the row counts, mid's too, or an old server would not notice that another was first.
        assert int(mariadb.query("SELECT version FROM tiny_id_info")[0][0]) > sum(each.loads for each in servers)
    changes = turns([[each for ids in olds for each in ids], [each for ids in ours for each in ids]])
    assert changes >= 5, f"old and new took turns only {changes} times: they did not issue at once"
    # A stop gives the unused rest back: the old server goes on without a gap above what mid gave out.
    assert server.stop() == 0
    again = old(mariadb)
    later = again.take(1)
    again.close()
    assert later[0] > max(everything)
    print(
        f"{dialect}: {len(everything)} ids in {seconds:.1f} s, {sum(each.loads for each in servers)} loads and "
        f"{sum(each.conflicts for each in servers)} conflicts of the old servers, {changes} turns"
    )


def test_the_check_finds_a_row_that_is_read_by_the_wrong_rule(mid, mariadb):
    old = prepare(mariadb, "leaf")(mariadb)
    # Leaf's row read as mid's own would be: each range begins one too high and ends on the next one's first id.
    server = mid(
        store=mariadb.url, arguments=["--table", "mid"], settings={**mariadb.settings, "MID_SEGMENT_TABLE_NAME": "leaf_alloc"}
    )
    server.launch()
    server.wait_for_health("segment", "SERVING", 20)
    ids = [each for _ in range(5) for each in (*take_from(server, 2 * STEP), *old.take(STEP))]
    old.close()
    with pytest.raises(AssertionError, match="given out more than once"):
        assert_unique(ids)


def test_the_next_id_of_each_table_is_what_its_own_server_gives_next(mid, mariadb):
    for dialect in TABLES:
        old = prepare(mariadb, dialect)
        environment = {**mariadb.settings, "MID_STORE_URL": mariadb.url, "MID_SEGMENT_TABLE_DIALECT": dialect}

        def next_id():
            result = run_mid("tag", "list", "--json", environment=environment)
            assert result.returncode == 0, result.stderr
            return next(int(each["next"]) for each in json.loads(result.stdout) if each["name"] == TAG)

        for _ in range(3):
            expected = next_id()
            one = old(mariadb)
            assert one.take(1)[0] == expected, dialect
            one.close()
        result = run_mid("tag", "set", TAG, "--next", 5_000_000, environment=environment)
        assert result.returncode == 0, result.stderr
        one = old(mariadb)
        assert one.take(1)[0] == next(each for each in range(5_000_000, 5_000_003) if dialect != "tinyid" or each % 3 == 2)
        one.close()


def test_a_table_that_is_missing_is_named_with_how_to_make_it(mariadb):
    environment = {**mariadb.settings, "MID_STORE_URL": mariadb.url}
    for dialect, (table, _, _) in TABLES.items():
        result = run_mid("tag", "list", "--table", dialect, environment=environment)
        name = {"leaf": "leaf_alloc", "tinyid": "tiny_id_info"}.get(dialect, dialect)
        assert result.returncode == 1, result.stdout
        assert f"no table {name}" in result.stderr and "CREATE TABLE" in result.stderr, result.stderr
        statement = result.stderr[result.stderr.index("CREATE TABLE") :]
        mariadb.query(statement)
        assert run_mid("tag", "list", "--table", dialect, environment=environment).returncode == 0


def test_names_of_ones_own_and_one_that_is_no_name(mid, mariadb):
    mariadb.query(
        "CREATE TABLE `our-ids` (`key` VARCHAR(64) PRIMARY KEY, `value` BIGINT NOT NULL, `size` INT NOT NULL);"
        "INSERT INTO `our-ids` VALUES ('orders', 1000, 100)"
    )
    names = {"NAME": "our-ids", "TAG_COLUMN": "key", "MAX_COLUMN": "value", "STEP_COLUMN": "size"}
    settings = {**mariadb.settings, **{f"MID_SEGMENT_TABLE_{key}": name for key, name in names.items()}}
    server = mid(store=mariadb.url, arguments=["--table", "leaf"], settings=settings)
    server.launch()
    server.wait_for_health("segment", "SERVING", 20)
    with server.channel() as channel:
        # Leaf's rule, whatever the names.
        assert generate_id(channel)("segment", TAG, timeout=10) == 1000
    assert server.stop() == 0
    assert mariadb.query("SELECT value FROM `our-ids`") == [["1001"]]
    result = run_mid("serve", environment={**settings, "MID_SEGMENT_TABLE_NAME": "x`; DROP TABLE y", "MID_BATCH_MAX": "no"})
    assert result.returncode == 2
    assert "segment.table.name" in result.stderr or "MID_SEGMENT_TABLE_NAME" in result.stderr, result.stderr
    assert "MID_BATCH_MAX" in result.stderr, result.stderr


def test_an_import_takes_over_above_all_that_the_old_server_gave_out(mid, mariadb):
    old = prepare(mariadb, "leaf")
    one = old(mariadb)
    before = one.take(5000)
    arguments = ["--from", mariadb.url, "--from-table", "leaf", "--to", mariadb.url, "--to-table", "mid", "--json"]
    environment = {**mariadb.settings, "MID_IMPORT_PASSWORD": mariadb.settings["MID_STORE_PASSWORD"]}
    dry = run_mid("import", *arguments, "--dry-run", environment=environment)
    assert dry.returncode == 0, dry.stderr
    # Nothing was made.
    assert mariadb.query("SHOW TABLES") == [["leaf_alloc"]]
    wet = run_mid("import", *arguments, environment=environment)
    assert wet.returncode == 0, wet.stderr
    assert json.loads(wet.stdout)["tags"] == json.loads(dry.stdout)["tags"]
    assert json.loads(wet.stdout)["tags"][0]["next"] == str(before[-1] + 1)
    server = mid(store=mariadb.url, settings=mariadb.settings)
    server.launch()
    server.wait_for_health("segment", "SERVING", 20)
    ids = take_from(server, 5000)
    assert ids[0] == before[-1] + 1
    assert_unique([*before, *ids])
    # The old server did not stop: importing again moves the new table past it.
    late = one.take(20_000)
    one.close()
    again = run_mid("import", *arguments, environment=environment)
    assert again.returncode == 0, again.stderr
    assert int(json.loads(again.stdout)["tags"][0]["next"]) > max(late)


def test_an_import_fails_where_the_old_server_goes_on_meanwhile(mariadb):
    old = prepare(mariadb, "leaf")
    servers = [old(mariadb), old(mariadb)]
    stop = threading.Event()

    def go_on(each):
        while not stop.is_set():
            each.take(1)

    threads = [threading.Thread(target=go_on, args=(each,), daemon=True) for each in servers]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: servers[0].loads > 5, 10, "the old server issues")
        result = run_mid(
            "import", "--from", mariadb.url, "--from-table", "leaf", "--to", mariadb.url, "--to-table", "mid",
            environment={**mariadb.settings, "MID_IMPORT_PASSWORD": mariadb.settings["MID_STORE_PASSWORD"]},
        )  # fmt: skip
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        for each in servers:
            each.close()
    assert result.returncode == 1, result.stdout
    assert "went on" in result.stderr and TAG in result.stderr, result.stderr
