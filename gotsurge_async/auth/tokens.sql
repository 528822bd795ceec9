-- What sql.py executes. Every statement is a transaction of its own.
-- leases: gotsurge_leases

-- name: there@sqlite
SELECT 1 FROM sqlite_master WHERE name = 'gotsurge_leases';
-- name: there@postgresql
SELECT 1 WHERE to_regclass('gotsurge_leases') IS NOT NULL;

-- name: tables
{one_creates}
CREATE TABLE IF NOT EXISTS gotsurge_tokens (account TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS gotsurge_leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, beat {big} NOT NULL);

-- name: accounts
SELECT account FROM gotsurge_tokens;

-- name: record
SELECT record FROM gotsurge_tokens WHERE account = :account;

-- name: save
INSERT INTO gotsurge_tokens (account, record) VALUES (:account, :record)
    ON CONFLICT (account) DO UPDATE SET record = excluded.record;

-- name: replace
UPDATE gotsurge_tokens SET record = :record WHERE account = :account AND record = :kept;

-- name: delete
DELETE FROM gotsurge_tokens WHERE account = :account;
