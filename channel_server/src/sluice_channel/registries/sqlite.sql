-- Every statement of the SQLite registry. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE IF NOT EXISTS environment (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (channel, name)
) STRICT;
-- `text` is the lock as it was sent, `resolved` what it says (JSON), both compressed with zstd.
CREATE TABLE IF NOT EXISTS environment_lock (
    id INTEGER PRIMARY KEY,
    environment INTEGER NOT NULL REFERENCES environment,
    sha256 TEXT NOT NULL,
    format TEXT NOT NULL,
    size INTEGER NOT NULL,
    packages INTEGER NOT NULL,
    platforms TEXT NOT NULL,
    text BLOB NOT NULL,
    resolved BLOB NOT NULL,
    UNIQUE (environment, sha256)
) STRICT;
CREATE TABLE IF NOT EXISTS environment_package (
    lock INTEGER NOT NULL REFERENCES environment_lock,
    platform TEXT NOT NULL,
    filename TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (lock, platform, filename)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS environment_package_name ON environment_package (name);
CREATE INDEX IF NOT EXISTS environment_package_filename ON environment_package (filename);
CREATE INDEX IF NOT EXISTS environment_package_sha256 ON environment_package (sha256);
CREATE TABLE IF NOT EXISTS environment_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment INTEGER NOT NULL REFERENCES environment,
    number INTEGER NOT NULL,
    lock INTEGER NOT NULL REFERENCES environment_lock,
    spec TEXT NOT NULL,
    spec_sha256 TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    generation INTEGER NOT NULL,
    solved_at INTEGER,
    UNIQUE (environment, number)
) STRICT;
CREATE INDEX IF NOT EXISTS environment_version_lock ON environment_version (lock);
CREATE TABLE IF NOT EXISTS deployment (
    environment INTEGER NOT NULL REFERENCES environment,
    id TEXT NOT NULL,
    lock TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (environment, id)
) STRICT, WITHOUT ROWID;

-- name: add_environment
INSERT INTO environment (channel, name) VALUES (:channel, :name) ON CONFLICT DO NOTHING;

-- name: environment
SELECT id FROM environment WHERE channel = :channel AND name = :name;

-- name: lock
SELECT id FROM environment_lock WHERE environment = :environment AND sha256 = :sha256;

-- name: add_lock
INSERT INTO environment_lock (environment, sha256, format, size, packages, platforms, text, resolved)
VALUES (:environment, :sha256, :format, :size, :packages, :platforms, :text, :resolved) RETURNING id;

-- name: add_package
INSERT INTO environment_package (lock, platform, filename, name, sha256)
VALUES (:lock, :platform, :filename, :name, :sha256) ON CONFLICT DO NOTHING;

-- name: add_version
INSERT INTO environment_version
    (environment, number, lock, spec, spec_sha256, made_at, made_by, generation, solved_at)
VALUES (:environment, :number, :lock, :spec, :spec_sha256, :made_at, :made_by, :generation, :solved_at);

-- name: environments
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by
FROM environment e
JOIN environment_version v ON v.environment = e.id AND v.number = (
    SELECT MAX(number) FROM environment_version WHERE environment = e.id AND generation <= :at)
JOIN environment_lock l ON l.id = v.lock
WHERE e.channel = :channel ORDER BY e.name;

-- name: newest
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by
FROM environment e JOIN environment_version v ON v.environment = e.id JOIN environment_lock l ON l.id = v.lock
WHERE e.channel = :channel AND e.name = :name AND v.generation <= :at ORDER BY v.number DESC LIMIT 1;

-- name: by_number
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by
FROM environment e JOIN environment_version v ON v.environment = e.id JOIN environment_lock l ON l.id = v.lock
WHERE e.channel = :channel AND e.name = :name AND v.number = :which;

-- name: by_lock
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by
FROM environment e JOIN environment_version v ON v.environment = e.id JOIN environment_lock l ON l.id = v.lock
WHERE e.channel = :channel AND e.name = :name AND l.sha256 = :which ORDER BY v.number DESC LIMIT 1;

-- name: history
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by
FROM environment e JOIN environment_version v ON v.environment = e.id JOIN environment_lock l ON l.id = v.lock
WHERE e.channel = :channel AND e.name = :name AND v.number < :before ORDER BY v.number DESC LIMIT :limit;

-- name: spec
SELECT v.spec AS content FROM environment e JOIN environment_version v ON v.environment = e.id
WHERE e.channel = :channel AND e.name = :name AND v.number = :number;

-- name: text
SELECT l.text AS content FROM environment e JOIN environment_lock l ON l.environment = e.id
WHERE e.channel = :channel AND e.name = :name AND l.sha256 = :lock;

-- name: resolved
SELECT l.resolved AS content FROM environment e JOIN environment_lock l ON l.environment = e.id
WHERE e.channel = :channel AND e.name = :name AND l.sha256 = :lock;

-- name: users
SELECT e.name, v.number, v.made_at, l.sha256, l.format, l.size, v.spec_sha256, l.packages, l.platforms,
       v.generation, v.solved_at, v.made_by,
       v.number = (SELECT MAX(number) FROM environment_version WHERE environment = e.id) AS current,
       p.platform, p.filename, p.sha256 AS package
FROM environment_package p
JOIN environment_lock l ON l.id = p.lock
JOIN environment_version v ON v.lock = l.id
JOIN environment e ON e.id = v.environment
WHERE (p.name = :wanted OR p.filename = :wanted) AND e.channel = :channel
  AND (:current = 0 OR v.number = (SELECT MAX(number) FROM environment_version WHERE environment = e.id))
ORDER BY e.name, v.number DESC, p.platform, p.filename LIMIT :limit;

-- name: named
SELECT e.channel, e.name, MAX(v.number) AS version
FROM environment_package p
JOIN environment_lock l ON l.id = p.lock
JOIN environment_version v ON v.lock = l.id
JOIN environment e ON e.id = v.environment
WHERE p.sha256 = :sha256 GROUP BY e.id ORDER BY e.channel, e.name;

-- name: named_digests
SELECT DISTINCT sha256 FROM environment_package ORDER BY sha256;

-- name: forget_deployments
DELETE FROM deployment WHERE environment = :environment AND until <= :now;

-- name: count_deployments
SELECT COUNT(*) AS number FROM deployment WHERE environment = :environment AND id <> :id;

-- name: set_deployment
INSERT INTO deployment (environment, id, lock, seen_at, until, details)
VALUES (:environment, :id, :lock, :seen_at, :until, :details)
ON CONFLICT DO UPDATE SET lock = excluded.lock, seen_at = excluded.seen_at, until = excluded.until,
    details = excluded.details;

-- name: withdraw
DELETE FROM deployment WHERE environment = :environment AND id = :id;

-- name: deployments
SELECT e.name, d.id, d.lock, d.seen_at, d.until, d.details
FROM deployment d JOIN environment e ON e.id = d.environment
WHERE e.channel = :channel AND (:name IS NULL OR e.name = :name) AND d.until > :now ORDER BY e.name, d.id;

-- name: stamp
SELECT COALESCE(MAX(id), 0) AS number FROM environment_version;

-- name: changed
SELECT DISTINCT e.channel, e.name FROM environment_version v JOIN environment e ON e.id = v.environment
WHERE v.id > :after ORDER BY e.channel, e.name;
