"""The nodes of a torture run, and who asks them."""

import os
import re
import shutil
import threading
import time
from random import Random

import grpc

from programs import MidServer
from stubs import generate_batch, generate_id
from torture_ids import Collected

# How many ids a call asks for, None for one by the call for single ids: so batches and single ids meet in the same ticks.
SIZES = (None, 1, 2, 10, 100, 1000, 1000, 1000, 5000)
# A pause between two calls of one caller, so that the machine has room for what is to be tested.
PAUSE = 0.012
DEADLINE = 5.0
# What a call may fail with while its node or the store is tormented.
EXPECTED = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"}


def error_class(details):
    """A message without what differs from one call to the next."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", details or "")
    text = re.sub(r"\bipv4:[\d.:]+|127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"\b[0-9a-f]{8,}\b|\d+", "N", text)
    text = re.sub(r"(are held, by ).*?;? the first", r"\1…; the first", text)
    return text if len(text) <= 160 else text[:159] + "…"


class Caller(threading.Thread):
    """Asks one node for ids, one call after the other, until it is told to end."""

    def __init__(self, node, number, random):
        super().__init__(name=f"{node.name}, caller {number}", daemon=True)
        self.node = node
        self.random = random
        self.collected = {tag: node.collector(number, tag) for tag in node.tags}
        # (when, code, class of the message)
        self.errors = []
        self.failure = None
        self._end = threading.Event()

    def run(self):
        try:
            while not self._end.is_set():
                life = self.node.life
                with self.node.server.channel(
                    **{"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 500}
                ) as channel:
                    calls = generate_id(channel), generate_batch(channel)
                    # A process has its own connection, so that each id is known to come from which.
                    while not self._end.is_set() and self.node.life == life:
                        self._end.wait(PAUSE if self._ask(*calls, life) else 0.03)
        except BaseException as error:
            self.failure = repr(error)
            raise

    def _ask(self, one, many, life):
        begin, size, tag = time.monotonic(), self.random.choice(SIZES), self.random.choice(self.node.tags)
        try:
            if size is None:
                ranges = [(one(self.node.mode, tag, timeout=DEADLINE), 1, 1)]
            else:
                ranges = many(self.node.mode, size, tag, timeout=DEADLINE)
        except grpc.RpcError as error:
            self.errors.append((time.monotonic(), error.code().name, error_class(error.details())))
            return False
        self.collected[tag].add(begin, time.monotonic(), life, ranges)
        self.node.last_id = ranges[-1][0]
        return True

    def end(self):
        self._end.set()


class Node:
    """One server with its folder, and those who ask it."""

    def __init__(self, name, folder, store, settings, mode, tags=("",)):
        self.name = name
        self.mode = mode
        self.tags = tags
        os.makedirs(folder)
        self.server = MidServer(folder, store=store.url, settings={**store.settings, **settings})
        # How many processes it has had.
        self.life = 0
        self.last_id = None
        self.callers = []

    def add_callers(self, count, random):
        self.callers = [Caller(self, number, Random(random.getrandbits(64))) for number in range(1, count + 1)]

    def collector(self, number, tag):
        """Where the ids of one tag are kept that come by connection `number`."""
        return Collected(f"{self.name}, connection {number}")

    def launch(self):
        self.server.launch()
        self.life += 1

    def ask(self):
        for caller in self.callers:
            caller.start()

    def end_callers(self):
        for caller in self.callers:
            caller.end()
        for caller in self.callers:
            if caller.ident is not None:
                caller.join(DEADLINE + 10)

    def forget_folder(self):
        shutil.rmtree(os.path.join(self.server.folder, "data"), ignore_errors=True)

    @property
    def collected(self):
        return [each for caller in self.callers for each in caller.collected.values()]

    @property
    def total(self):
        """How many ids it has given."""
        return sum(each.total for each in self.collected)

    @property
    def last_answer(self):
        """When the last ids came, by the monotonic clock, or 0."""
        return self.answered(self.tags)

    def answered(self, tags):
        """When the last ids of one of the tags came, or 0."""
        times = [caller.collected[tag].ends for caller in self.callers for tag in tags]
        return max((each[-1] for each in times if each), default=0.0)

    def has_served_since(self, moment):
        """Whether ids of every tag have come since."""
        return all(self.answered([tag]) > moment for tag in self.tags)
