-- Boards, their columns and tasks, the log of what happened to them, logins and idempotency keys.
--
-- Ids are the 16 bytes of a UUID. Times are milliseconds since 1970. Enumerations are spelled as the API spells them.

-- What counts up with every commit, apart from the boards' long texts, so that a commit rewrites a few bytes. Row 0 is the
-- system's log; every board has a row of its own.
CREATE TABLE log (
    id          INTEGER PRIMARY KEY CHECK (id >= 0),
    -- The last event. The next one gets head_seq + 1.
    head_seq    INTEGER NOT NULL DEFAULT 0 CHECK (head_seq >= 0),
    -- The oldest event that retention has left; head_seq + 1 when it has left none.
    first_seq   INTEGER NOT NULL DEFAULT 1 CHECK (first_seq >= 1),
    -- When the youngest of the removed events happened: the time that their gap is shown with.
    pruned_at   INTEGER,
    -- The number of the next task.
    next_number INTEGER NOT NULL DEFAULT 1 CHECK (next_number >= 1),
    -- Counts changes of who waits for whom and who is part of whom: two people who each see no circle must not make one.
    arrows      INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO log (id) VALUES (0);

CREATE TABLE board (
    log            INTEGER PRIMARY KEY REFERENCES log (id) CHECK (log > 0),
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- Unique among deleted boards too: KAN-12 shall never come to mean another task.
    key            TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    repository_url TEXT,
    default_branch TEXT,
    settings       TEXT NOT NULL,
    version        INTEGER NOT NULL,
    rev            INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    archived_at    INTEGER,
    deleted_at     INTEGER,
    -- 1 until the last piece of an import is there.
    importing      INTEGER NOT NULL DEFAULT 0 CHECK (importing IN (0, 1)),
    description    TEXT NOT NULL
) STRICT;

-- The boards that can be seen.
CREATE VIEW seen_board AS SELECT log, id FROM board WHERE deleted_at IS NULL AND importing = 0;

CREATE TABLE board_column (
    id        BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    board     INTEGER NOT NULL REFERENCES board (log),
    name      TEXT NOT NULL,
    position  INTEGER NOT NULL,
    wip_limit INTEGER,
    UNIQUE (board, id),
    -- No two share one: so columns can be walked in their order, and their cards after them, without sorting.
    UNIQUE (board, position)
) STRICT;

-- The states that a column holds, in the order in which its board names them.
CREATE TABLE column_state (
    board     INTEGER NOT NULL,
    column_id BLOB NOT NULL,
    state     TEXT NOT NULL,
    place     INTEGER NOT NULL,
    PRIMARY KEY (board, column_id, state),
    FOREIGN KEY (board, column_id) REFERENCES board_column (board, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    card           INTEGER PRIMARY KEY,
    board          INTEGER NOT NULL REFERENCES board (log),
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    number         INTEGER NOT NULL CHECK (number >= 1),
    title          TEXT NOT NULL,
    state          TEXT NOT NULL,
    column_id      BLOB NOT NULL,
    -- Compared byte by byte, as everywhere else.
    rank           TEXT NOT NULL COLLATE BINARY,
    priority       TEXT NOT NULL,
    agent_type     TEXT,
    repository_url TEXT,
    branch         TEXT,
    -- '' or '\nbug\nui\n': each label between line breaks, so that instr finds whole ones.
    labels         TEXT NOT NULL,
    parent_id      BLOB,
    external_ref   TEXT,
    attempts       INTEGER NOT NULL,
    failure        TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    archived_at    INTEGER,
    deleted_at     INTEGER,
    version        INTEGER NOT NULL,
    rev            INTEGER NOT NULL,
    description    TEXT NOT NULL,
    -- Title, labels, reference and description, folded.
    search         TEXT NOT NULL,
    -- A card's column holds its state, always. A deleted card holds no column back.
    held_state     TEXT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN state END) VIRTUAL,
    FOREIGN KEY (board, column_id, held_state) REFERENCES column_state (board, column_id, state),
    UNIQUE (board, number)
) STRICT;

-- As the cards lie. Not partial, since the foreign key looks here before a column or state goes.
CREATE INDEX task_by_lie ON task (board, column_id, rank, number);
CREATE INDEX task_by_age ON task (created_at, board, number);
CREATE INDEX task_by_update ON task (board, updated_at, number);
CREATE INDEX task_by_parent ON task (parent_id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX task_by_external_ref ON task (board, external_ref)
    WHERE external_ref IS NOT NULL AND deleted_at IS NULL;

-- `task` waits for `blocker`. No foreign keys: an import brings tasks that wait for later ones, piece by piece.
CREATE TABLE blocker (
    task    BLOB NOT NULL,
    blocker BLOB NOT NULL,
    PRIMARY KEY (task, blocker)
) STRICT, WITHOUT ROWID;

CREATE INDEX blocker_by_blocker ON blocker (blocker);

-- What happened. The text without its seq: the object goes on where {"seq":N stops.
CREATE TABLE event (
    log  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    task BLOB,
    kind TEXT NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_by_task ON event (task, seq) WHERE task IS NOT NULL;

-- Events that no reader can reach any more, up to `through`: removed a piece at a time between commits.
CREATE TABLE leftover (
    log     INTEGER PRIMARY KEY,
    through INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    hash       BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    person     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX session_by_end ON session (expires_at);

-- An idempotency key, and what its first asker was told once it was told.
CREATE TABLE claim (
    person      TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    at          INTEGER NOT NULL,
    status      INTEGER,
    body        BLOB,
    PRIMARY KEY (person, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX claim_by_time ON claim (at);
