-- Boards, their columns and tasks, the log of what happened to them, logins and idempotency keys.
--
-- The same tables and names as in SQLite. Times are milliseconds since 1970. Enumerations are spelled as the API spells them.
-- Every number is a BIGINT, so that a value fits any column that counts.

-- What counts up with every commit, apart from the boards' long texts, so that a commit rewrites a few bytes. Row 0 is the
-- system's log; every board has a row of its own. Who writes to a log locks its row first, in the order of the keys, and
-- holds it until the commit: so no number is seen before a lower one.
CREATE TABLE log (
    id          BIGINT CONSTRAINT log_key PRIMARY KEY CHECK (id >= 0),
    -- The last event. The next one gets head_seq + 1.
    head_seq    BIGINT NOT NULL DEFAULT 0 CHECK (head_seq >= 0),
    -- The oldest event that retention has left; head_seq + 1 when it has left none.
    first_seq   BIGINT NOT NULL DEFAULT 1 CHECK (first_seq >= 1),
    -- When the youngest of the removed events happened: the time that their gap is shown with.
    pruned_at   BIGINT,
    -- The number of the next task.
    next_number BIGINT NOT NULL DEFAULT 1 CHECK (next_number >= 1),
    -- Counts changes of who waits for whom and who is part of whom: two people who each see no circle must not make one.
    arrows      BIGINT NOT NULL DEFAULT 0
    -- Room on every page, so that a row that is written with every commit stays where it is.
) WITH (fillfactor = 20);

INSERT INTO log (id) VALUES (0);

CREATE TABLE board (
    log            BIGINT CONSTRAINT board_log PRIMARY KEY REFERENCES log (id) CHECK (log > 0),
    id             UUID NOT NULL CONSTRAINT board_id UNIQUE,
    -- Unique among deleted boards too: KAN-12 shall never come to mean another task.
    key            TEXT COLLATE "C" NOT NULL CONSTRAINT board_key UNIQUE,
    name           TEXT NOT NULL,
    repository_url TEXT,
    default_branch TEXT,
    settings       TEXT NOT NULL,
    version        BIGINT NOT NULL,
    rev            BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    archived_at    BIGINT,
    deleted_at     BIGINT,
    -- 1 until the last piece of an import is there.
    importing      BIGINT NOT NULL DEFAULT 0 CHECK (importing IN (0, 1)),
    description    TEXT NOT NULL
);

-- The boards that can be seen.
CREATE VIEW seen_board AS SELECT log, id FROM board WHERE deleted_at IS NULL AND importing = 0;

CREATE TABLE board_column (
    id        UUID CONSTRAINT board_column_id PRIMARY KEY,
    board     BIGINT NOT NULL CONSTRAINT board_column_board REFERENCES board (log),
    name      TEXT NOT NULL,
    position  BIGINT NOT NULL,
    wip_limit BIGINT,
    CONSTRAINT board_column_of_board UNIQUE (board, id),
    -- No two share one: so columns can be walked in their order, and their cards after them, without sorting.
    CONSTRAINT board_column_position UNIQUE (board, position)
);

-- The states that a column holds, in the order in which its board names them.
CREATE TABLE column_state (
    board     BIGINT NOT NULL,
    column_id UUID NOT NULL,
    state     TEXT COLLATE "C" NOT NULL,
    place     BIGINT NOT NULL,
    CONSTRAINT column_state_key PRIMARY KEY (board, column_id, state),
    CONSTRAINT column_state_column FOREIGN KEY (board, column_id) REFERENCES board_column (board, id)
);

CREATE TABLE task (
    card           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT task_card PRIMARY KEY,
    board          BIGINT NOT NULL CONSTRAINT task_board REFERENCES board (log),
    id             UUID NOT NULL CONSTRAINT task_id UNIQUE,
    number         BIGINT NOT NULL CHECK (number >= 1),
    title          TEXT NOT NULL,
    state          TEXT COLLATE "C" NOT NULL,
    column_id      UUID NOT NULL,
    -- Compared byte by byte, as everywhere else.
    rank           TEXT COLLATE "C" NOT NULL,
    priority       TEXT NOT NULL,
    agent_type     TEXT,
    repository_url TEXT,
    branch         TEXT,
    -- '' or '\nbug\nui\n': each label between line breaks, so that strpos finds whole ones.
    labels         TEXT NOT NULL,
    parent_id      UUID,
    external_ref   TEXT COLLATE "C",
    attempts       BIGINT NOT NULL,
    failure        TEXT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    archived_at    BIGINT,
    deleted_at     BIGINT,
    version        BIGINT NOT NULL,
    rev            BIGINT NOT NULL,
    description    TEXT NOT NULL,
    -- Title, labels, reference and description, folded. Words are looked for byte by byte.
    search         TEXT COLLATE "C" NOT NULL,
    -- A card's column holds its state, always. A deleted card holds no column back.
    held_state     TEXT COLLATE "C" GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN state END) STORED,
    CONSTRAINT task_held_state FOREIGN KEY (board, column_id, held_state)
        REFERENCES column_state (board, column_id, state),
    CONSTRAINT task_number UNIQUE (board, number)
);

-- As the cards lie. Not partial, since the foreign key looks here before a column or state goes.
CREATE INDEX task_by_lie ON task (board, column_id, rank, number);
CREATE INDEX task_by_age ON task (created_at, board, number);
CREATE INDEX task_by_update ON task (board, updated_at, number);
CREATE INDEX task_by_parent ON task (parent_id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX task_by_external_ref ON task (board, external_ref)
    WHERE external_ref IS NOT NULL AND deleted_at IS NULL;

-- `task` waits for `blocker`. No foreign keys: an import brings tasks that wait for later ones, piece by piece.
CREATE TABLE blocker (
    task    UUID NOT NULL,
    blocker UUID NOT NULL,
    CONSTRAINT blocker_key PRIMARY KEY (task, blocker)
);

CREATE INDEX blocker_by_blocker ON blocker (blocker);

-- What happened. The text without its seq: the object goes on where {"seq":N stops. Text and never jsonb, which would
-- change numbers and the order of keys, and refuse what agents say.
CREATE TABLE event (
    log  BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    task UUID,
    kind TEXT NOT NULL,
    at   BIGINT NOT NULL,
    body TEXT NOT NULL,
    CONSTRAINT event_seq PRIMARY KEY (log, seq)
);

CREATE INDEX event_by_task ON event (task, seq) WHERE task IS NOT NULL;

-- Events that no reader can reach any more, up to `through`: removed a piece at a time between commits.
CREATE TABLE leftover (
    log     BIGINT CONSTRAINT leftover_key PRIMARY KEY,
    through BIGINT NOT NULL
);

CREATE TABLE session (
    hash       BYTEA CONSTRAINT session_hash PRIMARY KEY CHECK (length(hash) = 32),
    person     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX session_by_end ON session (expires_at);

-- An idempotency key, and what its first asker was told once it was told.
CREATE TABLE claim (
    person      TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    at          BIGINT NOT NULL,
    status      BIGINT,
    body        BYTEA,
    CONSTRAINT claim_key PRIMARY KEY (person, key)
);

CREATE INDEX claim_by_time ON claim (at);
