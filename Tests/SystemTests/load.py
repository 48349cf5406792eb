"""Callers by the dozen, in processes of their own, each on a connection of its own: grpcio as users run it.

As a program it reads one JSON object from standard input and writes a pickle of its callers to a file.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from array import array


class Caller:
    """What one caller, one connection, has seen, in the order in which it saw it."""

    def __init__(self, address):
        self.address = address
        # For single calls: the ids, and when each answer came by the monotonic clock.
        self.ids = array("q")
        self.times = array("d")
        # For batches: (start, stride, count).
        self.ranges = []
        # (name of the status, seconds the call took, when it ended, message)
        self.errors = []


def _call(caller, channel, task):
    import grpc
    import stubs

    mode, tag, deadline = task["mode"], task["tag"], task["deadline"]
    if task["batch"]:
        generate = stubs.generate_batch(channel)
        request = lambda: caller.ranges.extend(generate(mode, task["batch"], tag, timeout=deadline))  # noqa: E731
    elif tag:
        one = stubs.generate_id(channel)
        request = lambda: caller.ids.append(one(mode, tag, timeout=deadline))  # noqa: E731
    else:
        original = stubs.make_id(channel)
        request = lambda: caller.ids.append(original(mode, timeout=deadline))  # noqa: E731
    end = time.monotonic() + task["seconds"]
    done = 0
    while done < task["count"]:
        begin = time.monotonic()
        if begin >= end:
            break
        try:
            request()
            caller.times.append(time.monotonic())
            done += 1
        except grpc.RpcError as error:
            now = time.monotonic()
            caller.errors.append((error.code().name, now - begin, now, error.details()))
            if task["stop_at_error"]:
                break
            # A server that refuses at once must not be asked a million times.
            time.sleep(0.02)


def _work(task):
    import grpc

    callers = [Caller(address) for address in task["addresses"]]
    channels = [
        grpc.insecure_channel(
            caller.address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.initial_reconnect_backoff_ms", 100),
            ],
        )
        for caller in callers
    ]
    threads = [
        threading.Thread(target=_call, args=(caller, channel, task), daemon=True)
        for caller, channel in zip(callers, channels)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for channel in channels:
        channel.close()
    with open(task["output"], "wb") as file:
        pickle.dump(callers, file)


class Load:
    """Calls from `callers` connections, spread over `addresses` and over `processes` processes."""

    def __init__(
        self,
        folder,
        addresses,
        mode,
        callers,
        tag="",
        count=10**9,
        seconds=60.0,
        deadline=5.0,
        batch=0,
        stop_at_error=True,
        processes=2,
    ):
        self._outputs = []
        self._processes = []
        self._seconds = seconds + deadline + 60
        targets = [addresses[index % len(addresses)] for index in range(callers)]
        for index in range(processes):
            # Neighbours, not every n-th, so that each process talks to every address.
            share = targets[index * callers // processes : (index + 1) * callers // processes]
            output = os.path.join(str(folder), f"load-{id(self)}-{index}.pickle")
            task = {
                "addresses": share,
                "mode": mode,
                "tag": tag,
                "count": count,
                "seconds": seconds,
                "deadline": deadline,
                "batch": batch,
                "stop_at_error": stop_at_error,
                "output": output,
            }
            process = subprocess.Popen(
                [sys.executable, "-B", os.path.abspath(__file__)], stdin=subprocess.PIPE, text=True
            )
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            self._outputs.append(output)
            self._processes.append(process)

    def callers(self):
        """Waits for the end of all processes and returns what each caller saw."""
        result = []
        end = time.monotonic() + self._seconds
        try:
            for process, output in zip(self._processes, self._outputs):
                status = process.wait(max(1.0, end - time.monotonic()))
                assert status == 0, f"a load process ended with {status}"
                with open(output, "rb") as file:
                    result.extend(pickle.load(file))
                os.remove(output)
        finally:
            self.stop()
        return result

    def stop(self):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def assert_unique(ids):
    """None twice, none 0 or less."""
    ids = array("q", sorted(ids))
    assert not ids or ids[0] > 0, f"{sum(1 for each in ids if each <= 0)} ids of 0 or less, the least {ids[0]}"
    repeated = sum(1 for index in range(1, len(ids)) if ids[index] == ids[index - 1])
    assert repeated == 0, f"{repeated} of {len(ids)} ids were given out more than once"


def assert_increasing(ids, what):
    """Each above the one before it."""
    for index in range(1, len(ids)):
        assert ids[index] > ids[index - 1], f"{what}: {ids[index]} came after {ids[index - 1]} (reply {index})"


def assert_disjoint(ranges):
    """No id in two of the ranges (start, stride, count), none 0 or less."""
    if any(stride != 1 for _, stride, _ in ranges):
        return assert_unique([start + stride * index for start, stride, count in ranges for index in range(count)])
    previous = 0
    for start, _, count in sorted(ranges):
        assert start > previous, f"the range from {start} begins at or below {previous}, which is taken or not positive"
        previous = start + count - 1


if __name__ == "__main__":
    # Two modules of one name would pickle classes that the reader does not know.
    import load

    load._work(json.load(sys.stdin))
