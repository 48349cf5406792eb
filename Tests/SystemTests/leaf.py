"""Leaf's Snowflake, step by step as its SnowflakeIDGenImpl.get has it, to issue ids beside mid.

As a program: leaf.py OUTPUT COUNT SECONDS WORKER...: the workers take turns until there are COUNT ids, spread evenly over
SECONDS where the machine is quick enough, and write them to a file.
"""

import random
import sys
import time
from array import array

EPOCH = 1_288_834_974_657
WORKER_BITS = 10
SEQUENCE_BITS = 12
MAX_WORKER = (1 << WORKER_BITS) - 1
SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1
WORKER_SHIFT = SEQUENCE_BITS
TIMESTAMP_SHIFT = SEQUENCE_BITS + WORKER_BITS


def now():
    return time.time_ns() // 1_000_000


class Leaf:
    """One instance with one worker id. For one thread."""

    def __init__(self, worker, clock=now):
        assert 0 <= worker <= MAX_WORKER, worker
        self.worker = worker
        self.clock = clock
        self.sequence = 0
        self.last_timestamp = -1

    def get(self):
        """The next id, or -1 or -3 where the clock went back, as Leaf answers."""
        timestamp = self.clock()
        if timestamp < self.last_timestamp:
            offset = self.last_timestamp - timestamp
            if offset > 5:
                return -3
            time.sleep(offset * 2 / 1000)
            timestamp = self.clock()
            if timestamp < self.last_timestamp:
                return -1
        if self.last_timestamp == timestamp:
            self.sequence = (self.sequence + 1) & SEQUENCE_MASK
            if self.sequence == 0:
                self.sequence = random.randrange(100)
                timestamp = self._until_next_millisecond()
        else:
            self.sequence = random.randrange(100)
        self.last_timestamp = timestamp
        return (timestamp - EPOCH) << TIMESTAMP_SHIFT | self.worker << WORKER_SHIFT | self.sequence

    def _until_next_millisecond(self):
        timestamp = self.clock()
        while timestamp <= self.last_timestamp:
            timestamp = self.clock()
        return timestamp


def main(output, count, seconds, *workers):
    leaves = [Leaf(int(worker)) for worker in workers]
    count, pace = int(count), int(count) / float(seconds)
    begin = time.monotonic()
    ids = array("q")
    while len(ids) < count:
        due = min(count, (time.monotonic() - begin) * pace)
        while len(ids) < due:
            ids.extend([leaf.get() for leaf in leaves])
        time.sleep(0.0005)
    with open(output, "wb") as file:
        ids[:count].tofile(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
