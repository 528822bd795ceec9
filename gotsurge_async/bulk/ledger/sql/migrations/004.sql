-- Version 4 of version 3: runs that workers on many machines send, a segment at a time.

-- name: segments
CREATE TABLE distributions (
  run {big} NOT NULL PRIMARY KEY, put_up_at {big} NOT NULL, epoch {big} NOT NULL, brakes TEXT NOT NULL, refused {big} NOT NULL,
  in_doubt {big} NOT NULL, spend {big} NOT NULL, spend_limit {big}, stopped_at {big}, stopped_as TEXT, stopped_by TEXT);
CREATE TABLE segments (
  run {big} NOT NULL, number INTEGER NOT NULL, first_chunk {big} NOT NULL, last_chunk {big} NOT NULL, epoch {big} NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'open', worker TEXT, lease_until {big} NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
  refused INTEGER NOT NULL DEFAULT 0, in_doubt INTEGER NOT NULL DEFAULT 0, price {big} NOT NULL DEFAULT 0,
  spend {big} NOT NULL DEFAULT 0, PRIMARY KEY (run, number)){narrow};
CREATE TABLE workers (
  id TEXT PRIMARY KEY, host TEXT NOT NULL, pid {big} NOT NULL, version TEXT NOT NULL, environment TEXT NOT NULL, started_at {big} NOT NULL,
  beat_at {big} NOT NULL, state TEXT NOT NULL, segments INTEGER NOT NULL, orders {big} NOT NULL, orders_per_minute INTEGER NOT NULL,
  trouble TEXT);
