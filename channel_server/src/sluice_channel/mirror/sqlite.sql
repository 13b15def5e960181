-- Every statement of the store of mirrors. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE IF NOT EXISTS mirror (
    channel TEXT PRIMARY KEY,
    rules TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    problem TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS mirror_seen (
    channel TEXT NOT NULL,
    subdir TEXT NOT NULL,
    seen TEXT NOT NULL,
    PRIMARY KEY (channel, subdir)
) STRICT, WITHOUT ROWID;

-- name: follow
INSERT INTO mirror (channel, rules, checked_at, problem) VALUES (:channel, :rules, 0, '')
ON CONFLICT (channel) DO UPDATE SET rules = excluded.rules, checked_at = 0, problem = '';

-- name: unfollow
DELETE FROM mirror WHERE channel = :channel;

-- name: forget_seen
DELETE FROM mirror_seen WHERE channel = :channel;

-- name: find
SELECT channel, rules, checked_at, problem FROM mirror WHERE channel = :channel;

-- name: mirrors
SELECT channel, rules, checked_at, problem FROM mirror ORDER BY channel;

-- name: seen
SELECT seen FROM mirror_seen WHERE channel = :channel AND subdir = :subdir;

-- name: note
INSERT INTO mirror_seen (channel, subdir, seen) VALUES (:channel, :subdir, :seen)
ON CONFLICT (channel, subdir) DO UPDATE SET seen = excluded.seen;

-- name: checked
UPDATE mirror SET checked_at = CASE WHEN :problem = '' THEN :at ELSE checked_at END, problem = :problem
WHERE channel = :channel;
