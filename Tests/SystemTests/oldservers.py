"""The servers that mid replaces, as they take ranges from their tables, to issue ids beside mid from one and the same row.

For the tests: each instance has a connection of its own and is for one thread.
"""

from array import array

import pymysql

from programs import MARIADB_PASSWORD

LEAF_ALLOC = """
    CREATE TABLE `leaf_alloc` (
      `biz_tag` varchar(128) NOT NULL DEFAULT '',
      `max_id` bigint(20) NOT NULL DEFAULT '1',
      `step` int(11) NOT NULL,
      `description` varchar(256) DEFAULT NULL,
      `update_time` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
      PRIMARY KEY (`biz_tag`)
    ) ENGINE=InnoDB
"""

TINY_ID_INFO = """
    CREATE TABLE `tiny_id_info` (
      `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
      `biz_type` varchar(63) NOT NULL DEFAULT '',
      `begin_id` bigint(20) NOT NULL DEFAULT '0',
      `max_id` bigint(20) NOT NULL DEFAULT '0',
      `step` int(11) DEFAULT '0',
      `delta` int(11) NOT NULL DEFAULT '1',
      `remainder` int(11) NOT NULL DEFAULT '0',
      `create_time` timestamp NOT NULL DEFAULT '2010-01-01 00:00:00',
      `update_time` timestamp NOT NULL DEFAULT '2010-01-01 00:00:00',
      `version` bigint(20) NOT NULL DEFAULT '0',
      PRIMARY KEY (`id`),
      UNIQUE KEY `uniq_biz_type` (`biz_type`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8
"""


class _Server:
    """An old server on the database of a private MariaDB."""

    def __init__(self, mariadb, tag):
        self.tag = tag
        self.connection = pymysql.connect(
            host="127.0.0.1", port=mariadb.port, user="mid", password=MARIADB_PASSWORD, database="mid", autocommit=False
        )
        # How often it took a range, and how often another was first.
        self.loads = 0
        self.conflicts = 0

    def close(self):
        self.connection.close()

    def take(self, count):
        """`count` ids in their order, one range after another, and the last range to its end."""
        ids = array("q")
        while len(ids) < count:
            ids.extend(self.load())
            self.loads += 1
        return ids


class Leaf(_Server):
    """Leaf: one transaction that moves the row and reads it; the range ends just before what it reads."""

    def __init__(self, mariadb, tag, table="leaf_alloc"):
        super().__init__(mariadb, tag)
        self.table = table

    def load(self):
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE `{self.table}` SET max_id = max_id + step WHERE biz_tag = %s", (self.tag,))
            cursor.execute(f"SELECT biz_tag, max_id, step FROM `{self.table}` WHERE biz_tag = %s", (self.tag,))
            _, maximum, step = cursor.fetchone()
        self.connection.commit()
        return range(maximum - step, maximum)


class Tinyid(_Server):
    """Tinyid: reads the row, changes it if nobody else has since, and walks from the old maximum to the new one."""

    def load(self):
        while True:
            with self.connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute(
                    "SELECT id, max_id, step, delta, remainder, version FROM tiny_id_info WHERE biz_type = %s", (self.tag,)
                )
                row, maximum, step, delta, remainder, version = cursor.fetchone()
                changed = cursor.execute(
                    "UPDATE tiny_id_info SET max_id = %s, update_time = now(), version = version + 1 "
                    "WHERE id = %s AND max_id = %s AND version = %s AND biz_type = %s",
                    (maximum + step, row, maximum, version, self.tag),
                )
            self.connection.commit()
            if changed == 1:
                return self.ids(maximum, maximum + step, delta, remainder)
            self.conflicts += 1

    @staticmethod
    def ids(current, maximum, delta, remainder):
        """The walk of its client: to the remainder by single steps, then by delta, up to the maximum."""
        while current % delta != remainder:
            current += 1
            if current % delta == remainder:
                current -= delta
                break
        return range(current + delta, maximum + 1, delta)
