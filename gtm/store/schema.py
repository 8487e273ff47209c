"""The store's tables, and how each version of them becomes the next."""

from __future__ import annotations

APPLICATION_ID = 0x67746D73  # "gtms": tells our files from other people's SQLite databases

# MIGRATIONS[n] turns version n into n + 1; the first makes the tables. Never edit one that was released: add one.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE override (
        subject TEXT PRIMARY KEY,
        action  TEXT NOT NULL,
        owner   TEXT NOT NULL,
        reason  TEXT NOT NULL,
        since_s REAL NOT NULL,
        until_s REAL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE audit (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        at_s    REAL NOT NULL,
        who     TEXT NOT NULL,
        what    TEXT NOT NULL,
        subject TEXT NOT NULL,
        why     TEXT NOT NULL,
        until_s REAL,
        before  TEXT
    ) STRICT;
    CREATE INDEX audit_subject ON audit (subject, id);

    CREATE TABLE judgement (
        check_name  TEXT NOT NULL,
        address     TEXT NOT NULL,
        health      TEXT NOT NULL,
        since_s     REAL NOT NULL,
        streak      INTEGER NOT NULL,
        last_at_s   REAL NOT NULL,
        last_ok     INTEGER NOT NULL,
        last_took_s REAL NOT NULL,
        last_detail TEXT NOT NULL,
        PRIMARY KEY (check_name, address)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE revision (
        revision INTEGER PRIMARY KEY,
        at_s     REAL NOT NULL,
        summary  TEXT NOT NULL,
        inputs   BLOB NOT NULL
    ) STRICT;

    CREATE TABLE counter (
        name  TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO counter (name, value) VALUES ('revision', 0);
    """,
    """
    CREATE TABLE inbox (
        id   INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        at_s REAL NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX inbox_kind ON inbox (kind, id);
    """,
    # history takes 65 bits, more than an INTEGER has: hexadecimal digits
    """
    ALTER TABLE judgement ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE judgement ADD COLUMN history TEXT NOT NULL DEFAULT '1';
    ALTER TABLE judgement ADD COLUMN last_poor INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE judgement ADD COLUMN last_connect_s REAL;
    ALTER TABLE judgement ADD COLUMN last_tls_s REAL;
    ALTER TABLE judgement ADD COLUMN last_first_byte_s REAL;
    """,
    # A target is written once for all of its runs: they are many, and names are longer than numbers.
    """
    CREATE TABLE transition (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        at_s         REAL NOT NULL,
        check_name   TEXT NOT NULL,
        address      TEXT NOT NULL,
        vantage      TEXT NOT NULL,
        was          TEXT NOT NULL,
        now          TEXT NOT NULL,
        lasted_s     REAL,
        failures     INTEGER NOT NULL,
        streak       INTEGER NOT NULL,
        history      TEXT NOT NULL,
        last_at_s    REAL,
        last_ok      INTEGER,
        last_poor    INTEGER,
        last_took_s  REAL,
        connect_s    REAL,
        tls_s        REAL,
        first_byte_s REAL,
        last_detail  TEXT,
        votes        TEXT
    ) STRICT;

    CREATE TABLE watched (
        id         INTEGER PRIMARY KEY,
        check_name TEXT NOT NULL,
        address    TEXT NOT NULL,
        vantage    TEXT NOT NULL,
        UNIQUE (check_name, address, vantage)
    ) STRICT;

    CREATE TABLE run (
        watched     INTEGER NOT NULL,
        first_at_s  REAL NOT NULL,
        last_at_s   REAL NOT NULL,
        outcome     TEXT NOT NULL,
        count       INTEGER NOT NULL,
        took_min_s  REAL NOT NULL,
        took_mean_s REAL NOT NULL,
        took_max_s  REAL NOT NULL,
        detail      TEXT NOT NULL,
        PRIMARY KEY (watched, first_at_s)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX run_end ON run (last_at_s);
    """,
)

VERSION = len(MIGRATIONS)
