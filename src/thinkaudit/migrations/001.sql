-- The tables of a store. They are public: query them. Every row is keyed by content, so stores merge by insert-or-ignore.

-- One model call and its completion: what is paid for, remembered and resumed. `key` is the hash of the identity
-- (name, model, revision) and of everything in the request; a URL, a port or a key never enters it.
CREATE TABLE calls (
    key             TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    model           TEXT NOT NULL,
    revision        TEXT NOT NULL,
    request         TEXT NOT NULL,  -- JSON: turns, and the sampling, prefix, stop, schema, repeat that were set
    answer          TEXT NOT NULL,
    thinking        TEXT NOT NULL,
    thinking_kind   TEXT NOT NULL,  -- full, summary, encrypted, hidden, none
    thinking_tokens INTEGER,
    carrier         TEXT NOT NULL,  -- where the thinking was found: a field's name, tags, channels, prefill
    closed          INTEGER NOT NULL,  -- 0 when an opened thinking block never ended
    finish          TEXT NOT NULL,  -- stop, length, blocked
    input_tokens    INTEGER,
    output_tokens   INTEGER,
    cost_usd        REAL,           -- null when no price is known
    seconds         REAL,
    at              REAL NOT NULL,  -- seconds since 1970, UTC
    note            TEXT NOT NULL
);

-- What decides an outcome besides its case: target and sampling, benchmark revision, judge and rubrics, as JSON.
CREATE TABLE setups (
    id        TEXT PRIMARY KEY,
    target    TEXT NOT NULL,
    benchmark TEXT NOT NULL,
    judge     TEXT NOT NULL,
    spec      TEXT NOT NULL,
    at        REAL NOT NULL
);

-- One row per part of a reply under one judge. `label` or `score` is there only when `status` is ok.
CREATE TABLE outcomes (
    setup      TEXT NOT NULL,
    target     TEXT NOT NULL,
    benchmark  TEXT NOT NULL,
    judge      TEXT NOT NULL,
    case_id    TEXT NOT NULL,
    attack     TEXT NOT NULL,
    repeat     INTEGER NOT NULL,
    part       TEXT NOT NULL,  -- answer, thinking
    rubric     TEXT NOT NULL,
    status     TEXT NOT NULL,  -- ok, no_answer, truncated, provider_blocked, unsure, judge_error, failed
    label      TEXT,
    score      REAL,
    reason     TEXT NOT NULL,
    thinking   TEXT NOT NULL,  -- kind of the reply's thinking
    finish     TEXT NOT NULL,
    axes       TEXT NOT NULL,  -- JSON object: axis to group
    call       TEXT,           -- calls.key of the target's (last) call
    judge_call TEXT,           -- calls.key of the judge's call
    PRIMARY KEY (setup, case_id, attack, repeat, part)
) WITHOUT ROWID;

-- One row per run of a plan, for provenance.
CREATE TABLE runs (
    id      TEXT PRIMARY KEY,
    started REAL NOT NULL,
    ended   REAL,
    version TEXT NOT NULL,
    plan    TEXT NOT NULL,     -- the plan file as it was read
    state   TEXT NOT NULL,     -- running, done, incomplete, budget, interrupted
    facts   TEXT NOT NULL      -- JSON: targets with their public settings, stops, data files and hashes, rubrics
);
