-- What inbox.py executes. Times are microseconds since 1970.
-- leases: inbox_leases

-- name: there@sqlite
SELECT 1 FROM sqlite_master WHERE name = 'inbox_leases';
-- name: there@postgresql
SELECT 1 WHERE to_regclass('inbox_leases') IS NOT NULL;

-- name: tables
{one_creates}
{short_wait}
CREATE TABLE IF NOT EXISTS inbox_events (
    id {numbered},
    digest {bytes} NOT NULL UNIQUE,
    account TEXT NOT NULL,
    state TEXT NOT NULL,
    task_id TEXT,
    received_at {big} NOT NULL,
    times {big} NOT NULL,
    why TEXT,
    size {big} NOT NULL,
    body {bytes} NOT NULL
);
CREATE INDEX IF NOT EXISTS inbox_waiting ON inbox_events (id) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS inbox_dead ON inbox_events (id, size) WHERE state = 'dead';
CREATE TABLE IF NOT EXISTS inbox_cursors (name TEXT NOT NULL PRIMARY KEY, event {big} NOT NULL);
CREATE TABLE IF NOT EXISTS inbox_leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, beat {big} NOT NULL);

-- name: put
INSERT INTO inbox_events (digest, account, state, task_id, received_at, times, why, size, body) VALUES {rows}
    ON CONFLICT (digest) DO UPDATE SET times = inbox_events.times + excluded.times;

-- name: waiting
SELECT id, account, task_id, received_at FROM inbox_events
    WHERE state = 'waiting' AND id > :after ORDER BY id LIMIT :limit;

-- name: done
UPDATE inbox_events SET state = 'done' WHERE state = 'waiting' AND id {among:ids};

-- name: dead
UPDATE inbox_events SET state = 'dead', why = :why WHERE state = 'waiting' AND id {among:ids};

-- name: not_ours
UPDATE inbox_events SET state = 'done', why = :why, size = 0, body = :nothing WHERE state = 'waiting' AND id {among:ids};

-- name: drop_bodies
UPDATE inbox_events SET size = 0, body = :nothing WHERE state = 'waiting' AND id {among:ids};

-- name: size_of_waiting
SELECT COALESCE(SUM(size), 0), COUNT(*) FROM inbox_events WHERE state = 'waiting' AND id {among:ids};

-- name: has_book@sqlite
SELECT 1 FROM sqlite_master WHERE name = 'book_orders';

-- name: has_book@postgresql
SELECT 1 WHERE to_regclass('book_orders') IS NOT NULL;

-- name: known
SELECT account, task_id FROM book_orders WHERE task_id {among:ids};

-- name: known_names
SELECT account, tracking_id FROM book_orders WHERE tracking_id {among:names}
UNION SELECT account, invoice_number FROM book_orders WHERE invoice_number {among:names}
UNION SELECT account, key FROM book_orders WHERE key {among:names};

-- name: newest
SELECT id, account, state, task_id, received_at, times, why, size FROM inbox_events
    WHERE (:state = '' OR state = :state) AND (:task_id = '' OR task_id = :task_id)
    ORDER BY id DESC LIMIT :limit;

-- name: oldest
SELECT id, account, state, task_id, received_at, times, why, size, body FROM inbox_events
    WHERE received_at >= :since AND id > :after ORDER BY id LIMIT :limit;

-- name: cursor
SELECT event FROM inbox_cursors WHERE name = :name;

-- name: move_cursor
INSERT INTO inbox_cursors (name, event) VALUES (:name, :event) ON CONFLICT (name) DO UPDATE SET event = excluded.event;

-- name: one
SELECT id, account, state, task_id, received_at, times, why, size, body FROM inbox_events WHERE id = :id;

-- name: bodies
SELECT id, body FROM inbox_events WHERE id {among:ids} AND received_at >= :since ORDER BY id;

-- name: replay
UPDATE inbox_events SET state = 'waiting', task_id = :task_id, why = NULL WHERE id = :id AND state <> 'waiting';

-- name: drop
DELETE FROM inbox_events WHERE id {among:ids};

-- name: in_state
SELECT id FROM inbox_events WHERE state = :state ORDER BY id;

-- name: counts
SELECT state, COUNT(*), SUM(size) FROM inbox_events GROUP BY state;

-- name: forget
DELETE FROM inbox_events WHERE id IN (
    SELECT id FROM inbox_events WHERE state = :state AND received_at < :before ORDER BY id LIMIT 1000);

-- name: evict
DELETE FROM inbox_events WHERE id IN (
    SELECT id FROM (
        SELECT id, SUM(size + :row) OVER (ORDER BY id) - size - :row AS so_far FROM (
            SELECT id, size FROM inbox_events WHERE state = :state ORDER BY id LIMIT 1000) AS oldest) AS counted
    WHERE so_far < :most) RETURNING size;
