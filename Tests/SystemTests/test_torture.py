"""script/torture: what it finds, and a short run of it."""

import os
import random
import re
import subprocess

import pytest

from galera import needs_galera
from programs import BINARY, ROOT
from torture_ids import Collected, self_check, verify
from torture_nodes import error_class

SCRIPT = os.path.join(ROOT, "script", "torture")


def torture(*arguments, timeout, **environment):
    return subprocess.run(
        [SCRIPT, *map(str, arguments)],
        env={**os.environ, "MID_BINARY": BINARY, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_its_own_check_finds_what_it_is_for():
    self_check()


def test_one_repeat_among_many_ids_is_found_and_named():
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    collected = [Collected(f"connection {number}") for number in range(10)]
    position = 1 << 50
    for call in range(20_000):
        count = chance.choice((1, 100, 1000))
        collected[chance.randrange(10)].add(call, call + 0.5, 1, [(position, 1, count)])
        position += count + chance.randrange(3)
    before = verify(collected)
    assert (before.repeated, before.not_positive, before.disordered, before.faults) == (0, 0, 0, []), f"seed {seed}"
    index = chance.randrange(1000)
    start = collected[3].starts[index]
    # At the same time, so that it is no disorder.
    when = collected[3].begins[collected[3].calls[index]]
    collected[7].add(when, when + 0.1, 2, [(start, 1, 1)])
    after = verify(collected)
    assert (after.ids, after.repeated) == (before.ids + 1, 1), f"seed {seed}"
    [fault] = [each for each in after.faults if each.startswith("given out twice")]
    assert "connection 3, process 1" in fault and "connection 7, process 2" in fault and f"{start} and 0 more" in fault
    assert "worker id" in fault and "tick" in fault


def test_messages_that_differ_in_numbers_only_are_of_one_class():
    def text(now, port):
        return f"the clock reads 2026-11-26T00:00:{now}.000Z at ipv4:127.0.0.1:{port}, the ids of worker {port}"

    assert error_class(text(10, 12345)) == error_class(text(59, 23456))
    assert error_class(text(10, 1)) != error_class("the lease has ended")


def test_a_short_run_tries_everything_and_passes(scale):
    least = scale(100_000, 5_000_000)
    result = torture(
        *("snowflake", "--nodes", 3, "--lease", "10s", "--minutes", scale(0.4, 3), "--ids", least),
        timeout=scale(110, 600),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    lines = dict(re.findall(r"(?m)^(ids|distinct|positive|in order|events|result) +(.*)$", result.stdout))
    assert int(lines["ids"].split()[0].replace(",", "")) >= least
    assert lines["distinct"] == lines["positive"] == "yes"
    assert lines["in order"].startswith("yes") and lines["result"] == "passed"
    for kind in ("clock steps", "clean stops", "freezes past the lease", "kills", "store kills"):
        assert re.search(rf"{kind}.* [1-9]", lines["events"]), lines["events"]
    # What is all right is not kept.
    folder = re.search(r"seed \d+, from .* in (/\S+)", result.stdout)[1]
    assert not os.path.exists(folder)
    print(result.stdout[result.stdout.index("\ntorture snowflake") :])


@needs_galera
@pytest.mark.timeout(700)
def test_a_short_run_on_a_cluster_whose_database_nodes_die_passes(scale):
    least = scale(100_000, 5_000_000)
    result = torture(
        *("segment", "--minutes", scale(0.5, 3), "--every", scale("12s", "20s"), "--ids", least),
        timeout=scale(240, 600),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    lines = dict(
        re.findall(r"(?m)^(ids|distinct|positive|in order|in rows|events|result) +(.*)$", result.stdout)
    )
    assert int(lines["ids"].split()[0].replace(",", "")) >= least
    assert lines["distinct"] == lines["positive"] == "yes"
    assert lines["in order"] == "yes, of 12 pairs of node and tag" and lines["result"] == "passed"
    assert lines["in rows"].startswith("yes")
    for kind in ("database kills", "caught up by", "clean stops", "freezes", "kills, then an empty folder"):
        assert re.search(rf"{kind}.* [1-9]", lines["events"]), lines["events"]
    print(result.stdout[result.stdout.index("\ntorture segment") :])


def test_fewer_ids_than_asked_for_fail_and_the_logs_are_kept(tmp_path):
    result = torture(
        *("snowflake", "--nodes", 1, "--lease", "10s", "--minutes", 0.02, "--ids", 10**12, "--seed", 1),
        timeout=100,
        TMPDIR=str(tmp_path),
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "are fewer than the 1,000,000,000,000 asked for" in result.stdout
    folder = re.search(r"logs, folders and ids: (/\S+)", result.stdout)[1]
    assert os.path.exists(f"{folder}/node1/log.1") and os.path.getsize(f"{folder}/ids.tsv") > 100


def test_help_and_mistakes_are_told():
    told = torture("snowflake", "--help", timeout=60)
    assert told.returncode == 0 and "--lease" in told.stdout and "--keep" in told.stdout, told.stderr
    assert torture("--help", timeout=60).stdout.startswith("Torments a fleet")
    other = torture("segment", "--help", timeout=60)
    assert other.returncode == 0 and "--every" in other.stdout and "--lease" not in other.stdout, other.stderr
    assert "'snowflake' and 'segment' are known" in torture(timeout=60).stderr
    wrong = torture("snowflake", "--lease", "soon", timeout=60)
    assert wrong.returncode == 2 and "'soon' is no duration" in wrong.stderr
    assert "--every is above 0" in torture("segment", "--every", "0s", timeout=60).stderr
