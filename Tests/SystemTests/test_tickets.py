"""Tickets: two servers on one database, whose history is checked, and on two of which one dies."""

import threading
import time

import grpc
import pytest

from load import assert_unique
from programs import MariaDB, wait_until
from stubs import generate_batch, generate_id


def history(servers, callers, seconds, deadline=5.0, stop=True):
    """What `callers` callers a server see: (began, ended, first id, last id) of each call, and the failed ones."""
    calls, failures, lock = [], [], threading.Lock()

    def run(server, number):
        mine, lost = [], []
        with server.channel() as channel:
            one, many = generate_id(channel), generate_batch(channel)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                try:
                    if number % 3 == 2:
                        ranges = many("ticket", 3, timeout=deadline)
                        ids = [start + index * stride for start, stride, count in ranges for index in range(count)]
                        assert len(ids) == 3
                    else:
                        ids = [one("ticket", "", timeout=deadline)]
                    mine.append((began, time.monotonic(), ids))
                except grpc.RpcError as error:
                    lost.append((error.code().name, time.monotonic() - began))
                    if stop:
                        break
        with lock:
            calls.extend(mine)
            failures.extend(lost)

    threads = [
        threading.Thread(target=run, args=(server, number)) for server in servers for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls, failures


def assert_in_order(calls):
    """A call that ended before another began has the smaller ids. Both times are of this machine's one clock."""
    ended = sorted(calls, key=lambda call: call[1])
    highest, position = 0, 0
    for began, _, ids in sorted(calls, key=lambda call: call[0]):
        while ended[position][1] < began:
            highest = max(highest, *ended[position][2])
            position += 1
        assert min(ids) > highest, f"{ids} came to a call that began after {highest} was had"


def test_the_order_check_finds_a_swap():
    calls = [(0.0, 1.0, [2]), (2.0, 3.0, [1])]
    with pytest.raises(AssertionError):
        assert_in_order(calls)
    assert_in_order([(0.0, 1.0, [1]), (0.5, 3.0, [3]), (2.0, 3.0, [2])])


def test_two_servers_on_one_database_give_tickets_in_the_order_of_the_calls(mid, mariadb, scale):
    servers = [mid(store=mariadb.url, settings=mariadb.settings).launch() for _ in range(2)]
    for server in servers:
        server.wait_for_health("ticket", "SERVING", 20)
    calls, failures = history(servers, 6, scale(5, 60))
    assert failures == []
    ids = [each for _, _, ids in calls for each in ids]
    assert_unique(ids)
    assert_in_order(calls)
    assert mariadb.query("SELECT COUNT(*), MAX(id) >= " + str(max(ids)) + " FROM Tickets64") == [["1", "1"]]
    assert sum(server.metric("id_generate_total", mode="ticket") for server in servers) == len(ids)
    print(f"{len(calls)} calls for {len(ids)} tickets")


def test_when_one_of_two_databases_dies_its_calls_go_to_the_other_within_their_deadline(mid, mariadb, tmp_path, scale):
    second = MariaDB(tmp_path / "second").start()
    try:
        settings = {**mariadb.settings, "MID_TICKET_DATABASES": f"{mariadb.url},{second.url}"}
        servers = [mid(settings=settings).launch() for _ in range(2)]
        # The password of the store is that of the databases where their URLs have none.
        for server in servers:
            server.wait_for_health("ticket", "SERVING", 20)
        calls, failures = history(servers, 4, 2)
        assert failures == []
        assert {each % 2 for _, _, ids in calls for each in ids} == {0, 1}
        killer = threading.Timer(1.0, second.kill)
        killer.start()
        more, failures = history(servers, 4, scale(4, 20), deadline=2.0)
        killer.join()
        assert failures == [], "a call did not come through on the other database"
        # Odd ones are of the first database, the only one left.
        assert {each % 2 for each in max(more, key=lambda call: call[0])[2]} == {1}
        second.start()

        def takes_turns():
            again, failures = history(servers[:1], 2, 0.3)
            more.extend(again)
            return not failures and {each % 2 for _, _, ids in again for each in ids} == {0, 1}

        wait_until(takes_turns, 20, "tickets of the database that came back")
        assert_unique([each for _, _, ids in calls + more for each in ids])
    finally:
        if second.is_running:
            second.stop()
