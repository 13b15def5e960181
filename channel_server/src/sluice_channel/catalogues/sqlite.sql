-- Every statement of the SQLite catalogue. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE channel (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    private INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    digest TEXT,
    created_at INTEGER NOT NULL
) STRICT;
-- With row ids: `changes` may be long, and a search of a table without them reads whole rows.
CREATE TABLE generation (
    channel INTEGER NOT NULL REFERENCES channel,
    number INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    digest TEXT NOT NULL,
    changes TEXT NOT NULL,
    PRIMARY KEY (channel, number)
) STRICT;
CREATE TABLE package (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    subdir TEXT NOT NULL,
    filename TEXT NOT NULL,
    record TEXT NOT NULL,
    run_exports TEXT NOT NULL,
    about TEXT NOT NULL
) STRICT;
-- A row says what holds from generation `since` up to and without `until`; null: until now.
CREATE TABLE entry (
    channel INTEGER NOT NULL REFERENCES channel,
    subdir TEXT NOT NULL,
    name TEXT NOT NULL,
    filename TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    package INTEGER NOT NULL REFERENCES package,
    indexed_at INTEGER NOT NULL,
    yanked TEXT,
    patch TEXT,
    PRIMARY KEY (channel, subdir, filename, since)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_family ON entry (channel, subdir, name, filename);
CREATE INDEX entry_package ON entry (package);
CREATE TABLE shard (
    channel INTEGER NOT NULL REFERENCES channel,
    subdir TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (channel, subdir, name, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX shard_generation ON shard (channel, subdir, generation);
CREATE INDEX shard_digest ON shard (sha256, channel, subdir);
-- How lists and searches show the newest generation.
CREATE TABLE project (
    channel INTEGER NOT NULL REFERENCES channel,
    name TEXT NOT NULL,
    subdir TEXT NOT NULL,
    packages INTEGER NOT NULL,
    version TEXT NOT NULL,
    summary TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (channel, name, subdir)
) STRICT, WITHOUT ROWID;
CREATE TABLE need (
    channel INTEGER NOT NULL REFERENCES channel,
    needs TEXT NOT NULL,
    name TEXT NOT NULL,
    subdir TEXT NOT NULL,
    PRIMARY KEY (channel, needs, name, subdir)
) STRICT, WITHOUT ROWID;
CREATE INDEX need_name ON need (channel, name, subdir);

-- name: upgrade_1
ALTER TABLE generation RENAME TO generation_1;
CREATE TABLE generation (
    channel INTEGER NOT NULL REFERENCES channel,
    number INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    digest TEXT NOT NULL,
    changes TEXT NOT NULL,
    PRIMARY KEY (channel, number)
) STRICT;
INSERT INTO generation SELECT channel, number, made_at, digest, changes FROM generation_1;
DROP TABLE generation_1;

-- name: notice_schema
CREATE TABLE IF NOT EXISTS notice (channel INTEGER PRIMARY KEY REFERENCES channel, notices TEXT NOT NULL) STRICT;

-- name: notices
SELECT notices FROM notice WHERE channel = :channel;

-- name: set_notices
INSERT INTO notice (channel, notices) VALUES (:channel, :notices)
ON CONFLICT (channel) DO UPDATE SET notices = excluded.notices;

-- name: create_channel
INSERT INTO channel (name, private, generation, created_at) VALUES (:name, :private, 0, :now)
ON CONFLICT (name) DO NOTHING;

-- name: set_private
UPDATE channel SET private = :private WHERE name = :name;

-- name: channel
SELECT id, name, generation, private, digest,
       COALESCE((SELECT MIN(number) FROM generation WHERE generation.channel = channel.id), 1) AS oldest
FROM channel WHERE name = :name;

-- name: channels
SELECT id, name, generation, private, digest,
       COALESCE((SELECT MIN(number) FROM generation WHERE generation.channel = channel.id), 1) AS oldest
FROM channel ORDER BY name;

-- name: entry
SELECT p.sha256, p.size, p.subdir, p.filename, p.record, p.run_exports, p.about,
       e.indexed_at, e.since, e.until, e.yanked, e.patch
FROM entry e JOIN package p ON p.id = e.package
WHERE e.channel = :channel AND e.subdir = :subdir AND e.filename = :filename
  AND e.since <= :at AND (e.until IS NULL OR e.until > :at);

-- The planner would rather read the whole subdir in the order of the primary key.
-- name: family
SELECT p.sha256, p.size, p.subdir, p.filename, p.record, p.run_exports, p.about,
       e.indexed_at, e.since, e.until, e.yanked, e.patch
FROM entry e INDEXED BY entry_family JOIN package p ON p.id = e.package
WHERE e.channel = :channel AND e.subdir = :subdir AND e.name = :name
  AND e.since <= :at AND (e.until IS NULL OR e.until > :at)
ORDER BY e.filename;

-- name: entries
SELECT p.sha256, p.size, p.subdir, p.filename, p.record, p.run_exports, p.about,
       e.indexed_at, e.since, e.until, e.yanked, e.patch
FROM entry e CROSS JOIN package p ON p.id = e.package
WHERE e.channel = :channel AND e.subdir = :subdir AND e.filename > :last
  AND e.since <= :at AND (e.until IS NULL OR e.until > :at)
ORDER BY e.filename LIMIT :limit;

-- name: holders
SELECT c.name AS channel, p.sha256, p.size, p.subdir, p.filename, p.record, p.run_exports, p.about,
       e.indexed_at, e.since, e.until, e.yanked, e.patch
FROM package p JOIN entry e ON e.package = p.id JOIN channel c ON c.id = e.channel
WHERE p.sha256 = :sha256 AND e.until IS NULL
ORDER BY c.name, p.subdir, p.filename;

-- name: package
SELECT id, sha256, size, subdir, filename, record, run_exports, about FROM package WHERE sha256 = :sha256;

-- name: add_package
INSERT INTO package (sha256, size, subdir, filename, record, run_exports, about)
VALUES (:sha256, :size, :subdir, :filename, :record, :run_exports, :about)
ON CONFLICT (sha256) DO NOTHING;

-- name: close_entry
UPDATE entry SET until = :generation
WHERE channel = :channel AND subdir = :subdir AND filename = :filename AND until IS NULL;

-- name: open_entry
INSERT INTO entry (channel, subdir, name, filename, since, package, indexed_at, yanked, patch)
VALUES (:channel, :subdir, :name, :filename, :generation,
        (SELECT id FROM package WHERE sha256 = :sha256), :indexed_at, :yanked, :patch);

-- name: set_shard
INSERT INTO shard (channel, subdir, name, generation, sha256)
VALUES (:channel, :subdir, :name, :generation, :sha256)
ON CONFLICT (channel, subdir, name, generation) DO UPDATE SET sha256 = excluded.sha256;

-- name: set_project
INSERT INTO project (channel, name, subdir, packages, version, summary, changed_at)
VALUES (:channel, :name, :subdir, :packages, :version, :summary, :changed_at)
ON CONFLICT (channel, name, subdir) DO UPDATE SET packages = excluded.packages, version = excluded.version,
    summary = excluded.summary, changed_at = excluded.changed_at;

-- name: clear_needs
DELETE FROM need WHERE channel = :channel AND name = :name AND subdir = :subdir;

-- name: add_need
INSERT INTO need (channel, needs, name, subdir) VALUES (:channel, :needs, :name, :subdir);

-- name: add_generation
INSERT INTO generation (channel, number, made_at, digest, changes)
VALUES (:channel, :number, :made_at, :digest, :changes);

-- name: advance
UPDATE channel SET generation = :number, digest = :digest WHERE id = :channel;

-- name: subdirs
WITH RECURSIVE step (subdir) AS (
    SELECT MIN(subdir) FROM shard WHERE channel = :channel
    UNION ALL
    SELECT (SELECT MIN(subdir) FROM shard WHERE channel = :channel AND subdir > step.subdir)
    FROM step WHERE step.subdir IS NOT NULL
)
SELECT subdir FROM step WHERE EXISTS (
    SELECT 1 FROM shard WHERE channel = :channel AND shard.subdir = step.subdir AND generation <= :at
);

-- name: touched
SELECT COALESCE(MAX(generation), 0) AS generation FROM shard
WHERE channel = :channel AND subdir = :subdir AND generation <= :at;

-- The last row of each name up to a generation; SQLite takes the bare column from the row of the maximum.
-- name: shards
SELECT name, sha256, MAX(generation) FROM shard
WHERE channel = :channel AND subdir = :subdir AND generation <= :at
GROUP BY name;

-- name: shards_after
SELECT name, sha256, MAX(generation) FROM shard INDEXED BY shard_generation
WHERE channel = :channel AND subdir = :subdir AND generation > :after AND generation <= :at
GROUP BY name;

-- name: young
SELECT DISTINCT name FROM entry
WHERE channel = :channel AND subdir = :subdir AND indexed_at > :cut
  AND since <= :at AND (until IS NULL OR until > :at);

-- name: shard
SELECT name, generation FROM shard WHERE sha256 = :sha256 AND channel = :channel AND subdir = :subdir LIMIT 1;

-- name: every_shard
SELECT channel, subdir, name, generation FROM shard;

-- name: generation
SELECT number, made_at, digest, changes FROM generation WHERE channel = :channel AND number = :number;

-- name: generations
SELECT number, made_at, digest, changes FROM generation
WHERE channel = :channel AND number < :before ORDER BY number DESC LIMIT :limit;

-- name: search
WITH found (name, rank) AS (
    SELECT name, CASE WHEN name = :text THEN 0 WHEN name LIKE :begins ESCAPE '\' THEN 1
                      WHEN name LIKE :contains ESCAPE '\' THEN 2 ELSE 3 END AS rank
    FROM project
    WHERE channel = :channel AND packages > 0
      AND (name LIKE :word0 ESCAPE '\' OR summary LIKE :word0 ESCAPE '\')
      AND (name LIKE :word1 ESCAPE '\' OR summary LIKE :word1 ESCAPE '\')
      AND (name LIKE :word2 ESCAPE '\' OR summary LIKE :word2 ESCAPE '\')
      AND (name LIKE :word3 ESCAPE '\' OR summary LIKE :word3 ESCAPE '\')
    GROUP BY name ORDER BY rank, name LIMIT :limit OFFSET :offset
)
SELECT p.subdir, p.name, p.packages, p.version, p.summary, p.changed_at
FROM found JOIN project p ON p.channel = :channel AND p.name = found.name
WHERE p.packages > 0
ORDER BY found.rank, p.name, p.subdir;

-- name: every_name
WITH found (name) AS (
    SELECT DISTINCT name FROM project WHERE channel = :channel AND packages > 0
    ORDER BY name LIMIT :limit OFFSET :offset
)
SELECT p.subdir, p.name, p.packages, p.version, p.summary, p.changed_at
FROM found JOIN project p ON p.channel = :channel AND p.name = found.name
WHERE p.packages > 0
ORDER BY p.name, p.subdir;

-- name: count_found
SELECT COUNT(DISTINCT name) AS number FROM project
WHERE channel = :channel AND packages > 0
  AND (name LIKE :word0 ESCAPE '\' OR summary LIKE :word0 ESCAPE '\')
  AND (name LIKE :word1 ESCAPE '\' OR summary LIKE :word1 ESCAPE '\')
  AND (name LIKE :word2 ESCAPE '\' OR summary LIKE :word2 ESCAPE '\')
  AND (name LIKE :word3 ESCAPE '\' OR summary LIKE :word3 ESCAPE '\');

-- name: project
SELECT subdir, name, packages, version, summary, changed_at FROM project
WHERE channel = :channel AND name = :name AND packages > 0 ORDER BY subdir;

-- name: totals
SELECT COUNT(DISTINCT name), COALESCE(SUM(packages), 0) FROM project WHERE channel = :channel AND packages > 0;

-- name: stored
SELECT COUNT(*), COALESCE(SUM(size), 0) FROM package;

-- name: dependents
SELECT DISTINCT name FROM need WHERE channel = :channel AND needs = :needs ORDER BY name LIMIT :limit;

-- name: namers
SELECT DISTINCT c.name FROM package p JOIN entry e ON e.package = p.id JOIN channel c ON c.id = e.channel
WHERE p.sha256 = :sha256 ORDER BY c.name;

-- name: leaving
SELECT MAX(COALESCE(e.until, :before + 1)) AS until, p.sha256
FROM entry e JOIN package p ON p.id = e.package
WHERE e.channel = :channel
GROUP BY p.id HAVING MAX(COALESCE(e.until, :before + 1)) <= :before
ORDER BY 1, 2;

-- name: forget_entries
DELETE FROM entry WHERE channel = :channel AND until <= :before;

-- The last row of each name up to the first generation that stays, stays.
-- name: forget_shards
DELETE FROM shard WHERE channel = :channel AND generation < :before AND EXISTS (
    SELECT 1 FROM shard later
    WHERE later.channel = shard.channel AND later.subdir = shard.subdir AND later.name = shard.name
      AND later.generation > shard.generation AND later.generation <= :before
);

-- name: forget_generations
DELETE FROM generation WHERE channel = :channel AND number < :before;

-- name: unnamed_packages
SELECT sha256 FROM package WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.package = package.id);

-- name: forget_packages
DELETE FROM package WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.package = package.id);

-- name: meta
SELECT value FROM meta WHERE key = :key;

-- name: set_meta
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
