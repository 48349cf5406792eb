"""The ids that a torture run collects, and the proof that they keep their promises.

Ids are kept as the ranges they came in, which is exact and small: 100 million are a few hundred thousand ranges.
"""

import time
from array import array
from collections import namedtuple

# Of a default layout's id: 41 bits of milliseconds since 2021-01-01, 10 of worker id, 12 of sequence.
EPOCH = 1_609_459_200_000


def worker_of(number):
    return number >> 12 & 1023


def tick_of(number):
    """Milliseconds since the Unix epoch."""
    return (number >> 22) + EPOCH


class Collected:
    """What one connection to one node was given, in the order in which it came.

    All ids of one `space` are to be distinct. Those of one `order` are to increase; None stands for Snowflake's, whose
    order is that of the worker id in them.
    """

    def __init__(self, name, space="", order=None):
        self.name = name
        self.space = space
        self.order = order
        self.starts = array("q")
        self.counts = array("q")
        # Which call brought each range, an index of those below.
        self.calls = array("q")
        # When each call was sent and answered by the monotonic clock, and the node's process that it was sent to.
        self.begins = array("d")
        self.ends = array("d")
        self.lives = array("q")
        self.total = 0

    def add(self, begin, end, life, ranges):
        """One reply: its ranges as (start, stride, count)."""
        call = len(self.begins)
        self.begins.append(begin)
        self.ends.append(end)
        self.lives.append(life)
        for start, stride, count in ranges:
            # Snowflake's layout in use has its sequence in the lowest bits, and the table in use a distance of 1.
            assert stride == 1 or count == 1, f"a range of stride {stride}"
            assert count > 0, f"a range of {count} ids"
            self.starts.append(start)
            self.counts.append(count)
            self.calls.append(call)
            self.total += count

    def order_of(self, start):
        return worker_of(start) if self.order is None else self.order

    def describe(self, index):
        """Where a range is from, for somebody who looks into a fault."""
        start, call = self.starts[index], self.calls[index]
        text = (
            f"{start} and {self.counts[index] - 1} more to {self.name}, process {self.lives[call]}, "
            f"asked at {wall_text(self.begins[call])}, answered at {wall_text(self.ends[call])}"
        )
        if self.order is None:
            text += f", worker id {worker_of(start)}, tick {tick_of(start)} ({tick_text(tick_of(start))})"
        return text


def wall_text(monotonic):
    """The real time at a reading of the monotonic clock."""
    return tick_text((time.time() - time.monotonic() + monotonic) * 1000)


def tick_text(milliseconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds / 1000)) + f".{int(milliseconds % 1000):03d}Z"


# How many ids, repeats and so on, and the first faults in words.
Verdict = namedtuple("Verdict", "ids ranges orders repeated not_positive disordered faults")


def verify(collected, most_faults=10):
    """Checks that all ids of a space are distinct and positive, and that those of one order increase.

    The order is that of time, whoever asked whomever: a call that was sent after another one was answered gets larger
    ids, if of the same order. This holds through restarts and where a worker id went to another node.
    """
    faults = []

    def fault(kind, *places):
        if len(faults) < most_faults:
            faults.append("\n  ".join([kind, *(each.describe(index) for each, index in places)]))

    everything = [(start, each, index) for each in collected for index, start in enumerate(each.starts)]
    everything.sort(key=lambda item: (item[1].space, item[0]))
    not_positive = repeated = 0
    last, place = 0, None
    for start, each, index in everything:
        count = each.counts[index]
        if place is not None and each.space != place[0].space:
            last, place = 0, None
        if start <= 0:
            not_positive += min(count, 1 - start)
            fault("not positive:", (each, index))
        end = start + count - 1
        if place is not None and start <= last:
            repeated += min(last, end) - start + 1
            fault("given out twice:", place, (each, index))
        if place is None or end > last:
            last, place = end, (each, index)

    by_order = {}
    for start, each, index in everything:
        by_order.setdefault(each.order_of(start), []).append((each, index))
    disordered = 0
    for places in by_order.values():
        disordered += _disorder(places, fault)
    total = sum(each.total for each in collected)
    return Verdict(total, len(everything), len(by_order), repeated, not_positive, disordered, faults)


def _disorder(places, fault):
    """How many ranges of one order are not above all that were answered before they were asked for."""
    disordered = 0
    by_begin = sorted(places, key=lambda place: (place[0].begins[place[0].calls[place[1]]], place[1]))
    by_end = sorted(places, key=lambda place: place[0].ends[place[0].calls[place[1]]])
    done, highest, holder = 0, 0, None
    for each, index in by_begin:
        call = each.calls[index]
        while True:
            other, number = by_end[done]
            if other.ends[other.calls[number]] >= each.begins[call]:
                break
            if other.starts[number] + other.counts[number] > highest:
                highest, holder = other.starts[number] + other.counts[number], by_end[done]
            done += 1
        if each.starts[index] < highest:
            disordered += 1
            fault("not above what was answered before:", holder, (each, index))
        # Within one reply, in the order of its ranges.
        if index == 0 or each.calls[index - 1] != call:
            continue
        before, start = each.starts[index - 1], each.starts[index]
        if each.order_of(before) == each.order_of(start) and start < before + each.counts[index - 1]:
            disordered += 1
            fault("not above the range before it:", (each, index - 1), (each, index))
    return disordered


def past_rows(collected, rows):
    """The spaces with an id above their row, as {space: (highest id, row)}; a row tells the highest that may be given."""
    tops = {}
    for each in collected:
        for start, count in zip(each.starts, each.counts):
            tops[each.space] = max(tops.get(each.space, 0), start + count - 1)
    return {space: (top, rows.get(space, 0)) for space, top in tops.items() if top > rows.get(space, 0)}


def self_check():
    """Fails unless a repeat, an id of 0 and a disorder are found where they are, and nothing where nothing is."""
    _check_snowflake()
    _check_segment()


def _planted(collected, replies):
    """The verdict on replies that are (which of the collected, when asked, ranges of start and count)."""
    for who, begin, *ranges in replies:
        collected[who].add(begin, begin + 0.5, 1, [(start, 1, count) for start, count in ranges])
    return verify(collected)


def _check_snowflake():
    def made(*replies):
        return _planted([Collected("node 1"), Collected("node 2")], replies)

    base = 1 << 40
    good = made((0, 0, (base, 1000)), (1, 1, (base + 1000, 1000)), (0, 1, (base + 2000, 6)), (1, 2, (base + 2006, 5)))
    assert (good.ids, good.repeated, good.not_positive, good.disordered) == (2011, 0, 0, 0), good
    twice = made((0, 0, (base, 1000)), (1, 0.1, (base + 999, 1000)))
    assert (twice.ids, twice.repeated, twice.disordered) == (2000, 1, 0), twice
    inside = made((0, 0, (base, 1000)), (1, 0.1, (base + 10, 1)), (0, 1, (base + 2000, 1)))
    assert inside.repeated == 1 and "node 2" in inside.faults[0], inside
    assert made((0, 0, (0, 1))).not_positive == 1
    back = made((0, 0, (base + 1000, 10)), (1, 1, (base, 10)))
    assert (back.repeated, back.disordered) == (0, 1), back
    # Another worker id has an order of its own.
    assert made((0, 0, (base + 4096, 10)), (1, 1, (base, 10))).disordered == 0


def _check_segment():
    def connections():
        """Two to node 1 and one to node 2 for one tag, and one to node 1 for another tag."""
        return [
            *(Collected(f"node 1, connection {number}, tag a", "a", "node 1, tag a") for number in (1, 2)),
            Collected("node 2, tag a", "a", "node 2, tag a"),
            Collected("node 1, tag b", "b", "node 1, tag b"),
        ]

    def made(*replies):
        return _planted(connections(), replies)

    # Another node may have lower ones later, and another tag the same ones.
    good = made((0, 0, (1001, 10)), (1, 1, (1011, 5), (3000, 5)), (2, 2, (1, 1000)), (3, 3, (1, 1000)))
    assert (good.ids, good.orders, good.repeated, good.not_positive, good.disordered) == (2020, 3, 0, 0, 0), good
    twice = made((0, 0, (1, 1000)), (3, 0, (1, 1000)), (2, 0, (1000, 1)))
    assert (twice.repeated, twice.disordered) == (1, 0), twice
    assert "node 1, connection 1, tag a" in twice.faults[0] and "node 2, tag a" in twice.faults[0], twice
    back = made((0, 0, (1000, 10)), (1, 1, (990, 10)))
    assert (back.repeated, back.disordered) == (0, 1), back
    assert made((0, 0, (3000, 5), (1000, 5))).disordered == 1
    assert made((3, 0, (1, 10)), (0, 0, (0, 2))).not_positive == 1
    collected = connections()
    _planted(collected, [(0, 0, (1, 10)), (2, 0, (11, 10)), (3, 0, (1, 30))])
    assert past_rows(collected, {"a": 20, "b": 30}) == {}
    assert past_rows(collected, {"a": 19, "b": 30}) == {"a": (20, 19)}
