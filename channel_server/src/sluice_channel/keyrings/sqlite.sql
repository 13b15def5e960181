-- Every statement of the keyring. "-- name:" begins one; the adapter asks for it by that name.

-- name: schema
CREATE TABLE IF NOT EXISTS token (
    number INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    secret BLOB NOT NULL UNIQUE CHECK (length(secret) = 32),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at INTEGER,
    revoked_at INTEGER,
    minted_by TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS token_minted ON token (expires_at) WHERE minted_by IS NOT NULL;
CREATE TABLE IF NOT EXISTS publisher (
    number INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    claims TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT

-- name: add
INSERT INTO token (identity, secret, name, scopes, created_at, expires_at, minted_by)
VALUES (:identity, :secret, :name, :scopes, :created_at, :expires_at, :minted_by);

-- name: find
SELECT secret, identity, name, scopes, created_at, expires_at, used_at, revoked_at, minted_by
FROM token WHERE secret = :secret;

-- name: token
SELECT identity, name, scopes, created_at, expires_at, used_at, revoked_at, minted_by
FROM token WHERE identity = :identity;

-- name: tokens
SELECT identity, name, scopes, created_at, expires_at, used_at, revoked_at, minted_by
FROM token ORDER BY number;

-- name: populated
SELECT EXISTS (SELECT 1 FROM token WHERE minted_by IS NULL) AS found;

-- name: used
UPDATE token SET used_at = :now WHERE identity = :identity AND (used_at IS NULL OR used_at <= :now - :every);

-- name: revoke
UPDATE token SET revoked_at = :now WHERE identity = :identity AND revoked_at IS NULL;

-- name: forget
DELETE FROM token WHERE minted_by IS NOT NULL AND expires_at < :before;

-- name: add_publisher
INSERT INTO publisher (identity, issuer, audience, claims, scope, created_at)
VALUES (:identity, :issuer, :audience, :claims, :scope, :created_at);

-- name: publisher
SELECT identity, issuer, audience, claims, scope, created_at FROM publisher WHERE identity = :identity;

-- name: remove_publisher
DELETE FROM publisher WHERE identity = :identity;

-- name: publishers
SELECT identity, issuer, audience, claims, scope, created_at FROM publisher
WHERE :issuer IS NULL OR issuer = :issuer ORDER BY number;
