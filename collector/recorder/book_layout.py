"""The tables of the recorder's book, version 2, and how a book of version 1 becomes one."""

from filiere.sqlite_file import Layout

_PROGRESS = """
CREATE TABLE progress (
  id INTEGER PRIMARY KEY CHECK (id = 1), bookmark INTEGER NOT NULL, recorded_ns INTEGER NOT NULL,
  log_head INTEGER NOT NULL, ledger_position INTEGER NOT NULL, store_problem TEXT, updated_ns INTEGER NOT NULL,
  recorded_to INTEGER NOT NULL DEFAULT 0, repeats_from INTEGER NOT NULL DEFAULT 0, plant_digest TEXT NOT NULL DEFAULT ''
)
"""
_NUMBERS = """
CREATE TABLE numbers (
  device TEXT NOT NULL, boot TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (device, boot, first)
) WITHOUT ROWID
"""
_COUNTS = """
CREATE TABLE counts (
  device TEXT PRIMARY KEY, stored INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
  late INTEGER NOT NULL DEFAULT 0, clock_suspect INTEGER NOT NULL DEFAULT 0, out_of_range INTEGER NOT NULL DEFAULT 0,
  last_event_ns INTEGER NOT NULL DEFAULT 0, last_record_ns INTEGER NOT NULL DEFAULT 0,
  skew_ns INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT '', unnumbered INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_QUARANTINE = """
CREATE TABLE quarantine (
  "offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  reason TEXT NOT NULL, message TEXT NOT NULL, record_time_ns INTEGER NOT NULL,
  rows INTEGER NOT NULL, numbered INTEGER, boot TEXT, seq INTEGER
)
"""
_WAITING = """
CREATE TABLE waiting (
  "offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL, topic BLOB, payload BLOB,
  record_time_ns INTEGER
)
"""
_NEW_IN_2 = (
    # what accounts and receipts ask of the quarantine, without a look at its payloads
    "CREATE INDEX quarantine_account ON quarantine (device, reason, numbered, rows)",
    "CREATE INDEX quarantine_number ON quarantine (device, boot, seq, rows, reason)",
    # numbers of a message that it had no part in: another message had brought them before
    'CREATE TABLE repeats ("offset" INTEGER, first INTEGER, last INTEGER, PRIMARY KEY ("offset", first)) WITHOUT ROWID',
    "CREATE TABLE new_boots (minute INTEGER, device TEXT, boots INTEGER, PRIMARY KEY (minute, device)) WITHOUT ROWID",
    'CREATE TABLE foreign_seen (key BLOB PRIMARY KEY, "offset" INTEGER NOT NULL, device TEXT NOT NULL) WITHOUT ROWID',
    'CREATE INDEX foreign_seen_offset ON foreign_seen ("offset", device)',
    'CREATE TABLE births (owner BLOB, "offset" INTEGER, body BLOB, PRIMARY KEY (owner, "offset")) WITHOUT ROWID',
    (
        "CREATE TABLE recorded_signal (key TEXT PRIMARY KEY, unit TEXT NOT NULL, range_low REAL NOT NULL,"
        " range_high REAL NOT NULL, planned INTEGER NOT NULL) WITHOUT ROWID"
    ),
)
_FROM_1_TO_2 = (
    "ALTER TABLE progress RENAME COLUMN bookmark_ns TO recorded_ns",
    "ALTER TABLE progress ADD COLUMN recorded_to INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE progress ADD COLUMN repeats_from INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE progress ADD COLUMN plant_digest TEXT NOT NULL DEFAULT ''",
    "UPDATE progress SET recorded_to = bookmark, repeats_from = bookmark",
    "ALTER TABLE counts ADD COLUMN unnumbered INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE waiting ADD COLUMN topic BLOB",
    "ALTER TABLE waiting ADD COLUMN payload BLOB",
    "ALTER TABLE waiting ADD COLUMN record_time_ns INTEGER",
    "ALTER TABLE quarantine ADD COLUMN boot TEXT",
    "ALTER TABLE quarantine ADD COLUMN seq INTEGER",
    *_NEW_IN_2,
)
LAYOUT = Layout(
    kind="recorder's book",
    application_id=0x46694231,
    version=2,
    tables=(
        _PROGRESS,
        _NUMBERS,
        _COUNTS,
        _QUARANTINE,
        _WAITING,
        *_NEW_IN_2,
        (
            "INSERT INTO progress (id, bookmark, recorded_ns, log_head, ledger_position, updated_ns)"
            " VALUES (1, 0, 0, 0, 0, 0)"
        ),
    ),
    upgrades={1: _FROM_1_TO_2},
)
