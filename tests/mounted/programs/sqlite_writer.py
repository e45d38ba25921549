"""Moves money between the accounts of a SQLite database: `python -m … DATABASE MODE TRANSACTIONS NUMBER`."""

import random
import sqlite3
import sys


def main() -> None:
    """Write all transactions, waiting for other writers."""
    path, mode, transactions, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(number)
    connection = sqlite3.connect(path, isolation_level=None, timeout=100)
    connection.execute("PRAGMA synchronous = FULL")
    if mode == "wal":
        connection.execute("PRAGMA wal_autocheckpoint = 50")
    for step in range(transactions):
        source, target = chance.sample(range(1, 51), 2)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE account SET money = money - 7 WHERE id = ?", (source,))
        connection.execute("UPDATE account SET money = money + 7 WHERE id = ?", (target,))
        connection.execute(
            "INSERT INTO done VALUES (?, ?, ?)", (number, step, chance.randbytes(chance.randrange(9000)))
        )
        connection.execute("COMMIT")
    connection.close()


if __name__ == "__main__":
    main()
