-- Every statement of the audit log. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    channel TEXT NOT NULL,
    package TEXT NOT NULL,
    generation INTEGER,
    detail TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT

-- name: no_update
CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END

-- name: no_delete
CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END

-- INSERT OR REPLACE deletes without asking the trigger above.
-- name: only_append
CREATE TRIGGER IF NOT EXISTS audit_only_append BEFORE INSERT ON audit
WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END

-- name: append
INSERT INTO audit (number, at, who, name, address, action, channel, package, generation, detail, digest)
VALUES (:number, :at, :who, :name, :address, :action, :channel, :package, :generation, :detail, :digest);

-- name: head
SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1;

-- name: lines
SELECT number, at, who, name, address, action, channel, package, generation, detail, digest
FROM audit WHERE number > :after ORDER BY number LIMIT :limit;

-- name: last
SELECT number, at, who, name, address, action, channel, package, generation, detail, digest
FROM audit ORDER BY number DESC LIMIT :limit;
