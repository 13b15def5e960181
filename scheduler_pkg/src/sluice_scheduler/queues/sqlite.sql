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
    provenance TEXT,
    tenant TEXT NOT NULL DEFAULT '',
    deadline REAL,
    cost REAL NOT NULL DEFAULT 0,
    forgiven INTEGER NOT NULL DEFAULT 0
) STRICT;
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

-- name: upgrade_3
ALTER TABLE task ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN deadline REAL;
ALTER TABLE task ADD COLUMN cost REAL NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0;
DROP INDEX task_waiting;

-- name: since_4
CREATE INDEX task_waiting ON task (lane, priority, rank, seq, cost, state) WHERE state = 'queued';
-- One range of that index for each priority, merged by whoever sorts by rank: a level that is not asked for costs nothing.
CREATE VIEW waiting AS
SELECT *, 1 AS level FROM task WHERE state = 'queued' AND priority = 1
UNION ALL SELECT *, 2 AS level FROM task WHERE state = 'queued' AND priority = 2
UNION ALL SELECT *, 3 AS level FROM task WHERE state = 'queued' AND priority = 3
UNION ALL SELECT *, 4 AS level FROM task WHERE state = 'queued' AND priority = 4
UNION ALL SELECT *, 5 AS level FROM task WHERE state = 'queued' AND priority = 5
UNION ALL SELECT *, 6 AS level FROM task WHERE state = 'queued' AND priority = 6
UNION ALL SELECT *, 7 AS level FROM task WHERE state = 'queued' AND priority = 7
UNION ALL SELECT *, 8 AS level FROM task WHERE state = 'queued' AND priority = 8
UNION ALL SELECT *, 9 AS level FROM task WHERE state = 'queued' AND priority = 9;
CREATE INDEX task_ended ON task (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE task_change (
    seq INTEGER NOT NULL REFERENCES task,
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    before INTEGER NOT NULL,
    after INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;
-- A tensors' blob in place of its row.
CREATE TABLE task_blob (
    seq INTEGER NOT NULL REFERENCES task,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (seq, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_named ON task_blob (digest);
-- How many there are of each kind, so that nobody counts rows.
CREATE TABLE tally (
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (lane, state, priority)
) STRICT, WITHOUT ROWID;
INSERT INTO tally SELECT lane, state, priority, count(*) FROM task GROUP BY lane, state, priority;
CREATE TRIGGER task_put AFTER INSERT ON task BEGIN
    INSERT INTO tally VALUES (new.lane, new.state, new.priority, 1)
    ON CONFLICT DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER task_moved AFTER UPDATE OF state, priority ON task
WHEN old.state <> new.state OR old.priority <> new.priority BEGIN
    UPDATE tally SET amount = amount - 1
    WHERE lane = old.lane AND state = old.state AND priority = old.priority;
    INSERT INTO tally VALUES (new.lane, new.state, new.priority, 1)
    ON CONFLICT DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER task_gone AFTER DELETE ON task BEGIN
    UPDATE tally SET amount = amount - 1
    WHERE lane = old.lane AND state = old.state AND priority = old.priority;
END;

-- A row of a job, in the order in which `rows` reads and writes it.
-- name: job
seq, id, lane, model, priority, rank, enqueued_at, input_digest, rows, batch, tenant, deadline, cost, state, attempts,
forgiven, start_order, started_at, finished_at, lease_until, error, provenance

-- name: enter
INSERT INTO task ({job}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
RETURNING seq;

-- name: put_input
INSERT INTO task_input (seq, tensors) VALUES (:seq, :tensors);

-- What sorts is among what is read, or SQLite would not merge.
-- name: ahead
SELECT seq, rank, model, batch, rows, attempts FROM waiting
WHERE lane = :lane AND level <= :lowest ORDER BY rank, seq LIMIT :most;

-- name: first
SELECT {job} FROM waiting WHERE lane = :lane ORDER BY rank, seq LIMIT :most;

-- name: last
SELECT {job} FROM waiting WHERE lane = :lane ORDER BY rank DESC, seq DESC LIMIT :most;

-- name: standing
SELECT priority, count(*) AS amount, total(cost) AS cost FROM task
WHERE state = 'queued' AND lane = :lane AND priority IN (1, 2, 3, 4, 5, 6, 7, 8, 9)
AND (rank, seq) < (:rank, :seq)
GROUP BY priority;

-- name: starts
SELECT value FROM counter WHERE name = 'start_order';

-- name: count_starts
UPDATE counter SET value = max(value, :last) WHERE name = 'start_order';

-- name: start
UPDATE task
SET state = :state, attempts = attempts + 1, start_order = :start_order, started_at = :now, lease_until = :until
WHERE seq = :seq
RETURNING {job}, (SELECT tensors FROM task_input WHERE task_input.seq = task.seq);

-- name: hold
UPDATE task SET lease_until = :until WHERE seq = :seq;

-- name: end
UPDATE task
SET state = :state, finished_at = :finished_at, lease_until = NULL, error = :error, provenance = :provenance
WHERE seq = :seq;

-- name: succeed
UPDATE task
SET state = :state, finished_at = :finished_at, lease_until = NULL, error = NULL, provenance = :provenance
WHERE id = :id AND state = 'running' AND attempts = :attempt
RETURNING {job};

-- name: put_output
INSERT INTO task_output (seq, tensors) VALUES (:seq, :tensors);

-- name: put_receipt
INSERT INTO task_receipt (seq, envelope) VALUES (:seq, :envelope);

-- name: receipt
SELECT envelope FROM task_receipt WHERE seq = :seq;

-- name: due
SELECT {job} FROM task INDEXED BY task_leased WHERE state = 'running' AND lease_until < :now ORDER BY seq;

-- name: get
SELECT {job} FROM task WHERE id = :id;

-- name: put_blob
INSERT INTO task_blob (seq, kind, digest) VALUES (:seq, :kind, :digest);

-- name: input
SELECT tensors FROM task_input WHERE seq = :seq
UNION ALL SELECT digest FROM task_blob WHERE seq = :seq AND kind = 'input';

-- name: output
SELECT tensors FROM task_output WHERE seq = :seq
UNION ALL SELECT digest FROM task_blob WHERE seq = :seq AND kind = 'output';

-- name: named
SELECT DISTINCT digest FROM task_blob WHERE digest IN (SELECT value FROM json_each(:digests));

-- name: list
SELECT {job} FROM task
WHERE seq < :before
AND (:state IS NULL OR state = :state)
AND (:lane IS NULL OR lane = :lane)
AND (:model IS NULL OR model = :model)
AND (:tenant IS NULL OR tenant = :tenant)
AND (:priority IS NULL OR priority = :priority)
AND (:since IS NULL OR enqueued_at >= :since)
AND (:until IS NULL OR enqueued_at < :until)
ORDER BY seq DESC LIMIT :limit;

-- name: retry
UPDATE task SET rank = :rank, forgiven = attempts WHERE seq = :seq;

-- name: rerank
UPDATE task SET state = :state, priority = :priority, rank = :rank WHERE seq = :seq RETURNING {job};

-- name: put_change
INSERT INTO task_change
SELECT :seq, coalesce(max(number), 0) + 1, :at, :before, :after, :reason FROM task_change WHERE seq = :seq;

-- name: changes
SELECT at, before, after, reason FROM task_change WHERE seq = :seq ORDER BY number;

-- name: old
SELECT seq FROM task WHERE finished_at < :ended_before ORDER BY finished_at, seq LIMIT :limit;

-- name: blobs
SELECT digest FROM task_blob WHERE seq = :seq;

-- name: forget_blobs
DELETE FROM task_blob WHERE seq = :seq;

-- name: forget_input
DELETE FROM task_input WHERE seq = :seq;

-- name: forget_output
DELETE FROM task_output WHERE seq = :seq;

-- name: forget_receipt
DELETE FROM task_receipt WHERE seq = :seq;

-- name: forget_changes
DELETE FROM task_change WHERE seq = :seq;

-- name: forget
DELETE FROM task WHERE seq = :seq;

-- name: counts
SELECT lane, state, sum(amount) AS amount FROM tally WHERE amount > 0 GROUP BY lane, state;

-- name: depths
SELECT lane, priority, amount FROM tally WHERE state = 'queued' AND amount > 0;
