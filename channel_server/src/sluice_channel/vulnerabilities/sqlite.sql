-- Every statement about known vulnerabilities. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE IF NOT EXISTS advisory_edition (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    digest TEXT NOT NULL,
    loaded_at INTEGER NOT NULL,
    advisories INTEGER NOT NULL,
    left_out INTEGER NOT NULL,
    malformed INTEGER NOT NULL,
    unread INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS advisory (
    id TEXT PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS advisory_project (
    project TEXT NOT NULL,
    advisory TEXT NOT NULL REFERENCES advisory,
    PRIMARY KEY (project, advisory)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS advisory_project_advisory ON advisory_project (advisory);

-- name: clear_projects
DELETE FROM advisory_project;

-- name: clear
DELETE FROM advisory;

-- name: add
INSERT INTO advisory (id, document) VALUES (:id, :document);

-- name: add_project
INSERT INTO advisory_project (project, advisory) VALUES (:project, :id) ON CONFLICT DO NOTHING;

-- name: set_edition
INSERT INTO advisory_edition (one, digest, loaded_at, advisories, left_out, malformed, unread)
VALUES (1, :digest, :loaded_at, :advisories, :left_out, :malformed, :unread)
ON CONFLICT DO UPDATE SET digest = excluded.digest, loaded_at = excluded.loaded_at,
    advisories = excluded.advisories, left_out = excluded.left_out, malformed = excluded.malformed,
    unread = excluded.unread;

-- name: edition
SELECT digest, loaded_at, advisories, left_out, malformed, unread FROM advisory_edition;

-- name: about
SELECT a.document FROM advisory_project p JOIN advisory a ON a.id = p.advisory
WHERE p.project = :project ORDER BY a.id;
