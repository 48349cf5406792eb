"""Callers in threads that begin together, for what takes less than the processes of load.py."""

import threading


def at_once(*calls, seconds=110):
    """Runs the calls in threads that begin together, and returns what they gave."""
    barrier, results, failures = threading.Barrier(len(calls)), [None] * len(calls), []

    def run(index, call):
        try:
            barrier.wait(30)
            results[index] = call()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "a caller hangs"
    if failures:
        raise failures[0]
    return results
