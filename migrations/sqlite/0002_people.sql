-- People, the boards that they belong to, and logins of several kinds.

CREATE TABLE person (
    id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- What is typed to log in, in small letters. Never used again.
    name         TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    role         TEXT NOT NULL,
    -- A PHC string; null for those who have none.
    password     TEXT,
    disabled_at  INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    rev          INTEGER NOT NULL
) STRICT;

CREATE TABLE member (
    board    INTEGER NOT NULL REFERENCES board (log),
    person   BLOB NOT NULL REFERENCES person (id),
    added_at INTEGER NOT NULL,
    PRIMARY KEY (board, person)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_by_person ON member (person);

-- Made anew with a name of its own for each: logins of before stay.
CREATE TABLE session_now (
    id         BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    kind       TEXT NOT NULL,
    -- Of the cookie, or of the personal token.
    hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- Of the refresh token that was given out last.
    refresh    BLOB CHECK (length(refresh) = 32),
    -- A person's id as text, or 'local': no foreign key.
    person     TEXT NOT NULL,
    name       TEXT,
    scope      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

INSERT INTO session_now (id, kind, hash, person, scope, created_at, expires_at)
SELECT randomblob(16), 'login', hash, person, 'admin', created_at, expires_at FROM session;

DROP TABLE session;
ALTER TABLE session_now RENAME TO session;

CREATE INDEX session_by_end ON session (expires_at);
CREATE INDEX session_by_person ON session (person, id);
