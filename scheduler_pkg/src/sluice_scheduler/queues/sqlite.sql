-- Every statement of the SQLite queue. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    lane TEXT NOT NULL,
    model TEXT NOT NULL,
    priority INTEGER NOT NULL,
    rank REAL NOT NULL,
    state TEXT NOT NULL,
    enqueued_at REAL NOT NULL,
    input_digest TEXT NOT NULL,
    rows INTEGER NOT NULL DEFAULT 1,
    batch TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    start_order INTEGER,
    started_at REAL,
    finished_at REAL,
    lease_until REAL,
    error TEXT,
    provenance TEXT
) STRICT;
CREATE INDEX task_waiting ON task (lane, rank, seq) WHERE state = 'queued';
CREATE INDEX task_leased ON task (lease_until) WHERE state = 'running';
-- Tensors stand apart: a row is rewritten whole when its state changes.
CREATE TABLE task_input (seq INTEGER PRIMARY KEY REFERENCES task, tensors BLOB NOT NULL) STRICT;
CREATE TABLE task_output (seq INTEGER PRIMARY KEY REFERENCES task, tensors BLOB NOT NULL) STRICT;
CREATE TABLE task_receipt (seq INTEGER PRIMARY KEY REFERENCES task, envelope BLOB NOT NULL) STRICT;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES ('start_order', 0);

-- name: upgrade_1
CREATE TABLE task_receipt (seq INTEGER PRIMARY KEY REFERENCES task, envelope BLOB NOT NULL) STRICT;

-- name: upgrade_2
ALTER TABLE task ADD COLUMN rows INTEGER NOT NULL DEFAULT 1;
ALTER TABLE task ADD COLUMN batch TEXT NOT NULL DEFAULT '';

-- name: put
INSERT INTO task (id, lane, model, priority, rank, state, enqueued_at, input_digest, rows, batch)
VALUES (:id, :lane, :model, :priority, :rank, 'queued', :enqueued_at, :input_digest, :rows, :batch)
ON CONFLICT (id) DO NOTHING
RETURNING seq;

-- name: put_input
INSERT INTO task_input (seq, tensors) VALUES (:seq, :tensors);

-- name: next
SELECT * FROM task WHERE state = 'queued' AND lane = :lane ORDER BY rank, seq LIMIT 1;

-- name: ahead
SELECT seq, batch, rows, attempts FROM task
WHERE state = 'queued' AND lane = :lane ORDER BY rank, seq LIMIT :most;

-- name: count_start
UPDATE counter SET value = value + 1 WHERE name = 'start_order' RETURNING value;

-- name: start
UPDATE task
SET state = :state, attempts = attempts + 1, start_order = :start_order, started_at = :now, lease_until = :until
WHERE seq = :seq
RETURNING *;

-- name: hold
UPDATE task SET lease_until = :until WHERE seq = :seq;

-- name: end
UPDATE task
SET state = :state, finished_at = :finished_at, lease_until = NULL, error = :error, provenance = :provenance
WHERE seq = :seq
RETURNING *;

-- name: put_output
INSERT INTO task_output (seq, tensors) VALUES (:seq, :tensors);

-- name: put_receipt
INSERT INTO task_receipt (seq, envelope) VALUES (:seq, :envelope);

-- name: receipt
SELECT envelope FROM task_receipt WHERE seq = :seq;

-- name: due
SELECT * FROM task WHERE state = 'running' AND (:abandoned OR lease_until < :now) ORDER BY seq;

-- name: get
SELECT * FROM task WHERE id = :id;

-- name: input
SELECT tensors FROM task_input WHERE seq = :seq;

-- name: output
SELECT tensors FROM task_output WHERE seq = :seq;

-- name: list
SELECT * FROM task WHERE (:state IS NULL OR state = :state) ORDER BY seq DESC LIMIT :limit;

-- name: counts
SELECT lane, state, count(*) AS amount FROM task GROUP BY lane, state;
