"""A private Galera cluster of three MariaDB nodes that all take writes, by script/galera."""

import glob
import os
import re

import pytest

from programs import MARIADB_PASSWORD, ROOT, MariaDB, free_ports, run_database_script, which

# Where systems keep the library that makes a MariaDB a node of a cluster.
PROVIDERS = ("/usr/lib*/galera*/libgalera_smm.so", "/usr/lib/libgalera_smm.so")


def needs_galera(test):
    is_there = which("mariadbd") is not None and any(glob.glob(each) for each in PROVIDERS)
    # Where everything is to be there, what is missing fails the test instead.
    is_skipped = not is_there and not os.environ.get("CI")
    return pytest.mark.skipif(is_skipped, reason="not installed: mariadbd with galera-4")(test)


class GaleraNode(MariaDB):
    """One node of a cluster, which starts and ends it."""

    def __init__(self, cluster, number, url):
        super().__init__(cluster.folder)
        self.cluster = cluster
        self.number = number
        self.name = f"database {number}"
        # A password in the URL would be visible in the process list; mid takes it from its environment.
        self.url = re.sub(r"//([^:@/]+):[^@/]*@", r"//\1@", url)
        self.port = int(re.search(r":(\d+)/", url)[1])

    def start(self, empty=False):
        """Starts it again, on its data or as a new node, waits until it takes part, and returns how: by IST or SST."""
        return self.cluster.run("join", self.number, *(["--empty"] if empty else [])).splitlines()[-1]

    def stop(self):
        raise NotImplementedError("nodes are stopped together, in an order that leaves none waiting for a vote")

    def kill(self):
        self.cluster.run("kill", self.number)

    def status(self, name):
        """A counter or state of the server, as text."""
        return self.query(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1]

    @property
    def taken_back(self):
        """How many statements the cluster has taken back since the node's start, as another node wrote the same row."""
        return sum(int(self.status(name)) for name in ("wsrep_local_bf_aborts", "wsrep_local_cert_failures"))


class Galera:
    SCRIPT = os.path.join(ROOT, "script", "galera")

    def __init__(self, folder):
        self.folder = str(folder)
        self.nodes = []

    def run(self, command, *arguments):
        return run_database_script(self.SCRIPT, command, self.folder, *arguments, seconds=100)

    def start(self):
        text = self.run("start", free_ports(12))
        self.nodes = [GaleraNode(self, number, url) for number, url in enumerate(re.findall(r"mysql://\S+", text), 1)]
        assert len(self.nodes) == 3, text
        return self

    def stop(self):
        self.run("stop")

    def kill(self):
        """Ends whatever runs."""
        for number in (1, 2, 3):
            self.run("kill", number)

    @property
    def settings(self):
        return {"MID_STORE_PASSWORD": MARIADB_PASSWORD}
