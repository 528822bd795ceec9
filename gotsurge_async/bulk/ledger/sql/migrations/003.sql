-- Version 3 of version 2, which had a row for each order, and was in SQLite only: see migrate.py.

-- name: set_aside
DROP INDEX IF EXISTS unused_drafts_of_run;
DROP INDEX IF EXISTS decisions_of_run;
ALTER TABLE payloads RENAME TO old_payloads;
ALTER TABLE decisions RENAME TO old_decisions;
ALTER TABLE unused_drafts RENAME TO old_unused_drafts;
ALTER TABLE orders RENAME TO old_orders;
ALTER TABLE runs RENAME TO old_runs;
ALTER TABLE ledger_meta RENAME TO old_ledger_meta;

-- Of several orders of a key the one of the lowest rank has it: one that is live, else one that had it, else one that
-- counted on another one.
-- name: bring_runs
CREATE TABLE letters (state TEXT PRIMARY KEY, letter TEXT, rank INTEGER);
INSERT INTO letters VALUES ('pending', 'p', 0), ('sending', 's', 0), ('drafting', 'g', 0), ('drafted', 'd', 0),
  ('broadcasting', 'b', 0), ('created', 'c', 0), ('in_doubt', 'i', 0), ('rejected', 'r', 1), ('cancelled', 'x', 1),
  ('already_pushed', 'a', 2), ('changed', 'h', 2), ('superseded', 'u', 2), ('loading', 'p', 3);
INSERT INTO ledger_meta (name, value) SELECT name, value FROM old_ledger_meta
WHERE name NOT IN ('schema_version', 'last_order_id', 'counter', 'checked_at');
INSERT INTO counters (slot, n) SELECT 0, value FROM old_ledger_meta WHERE name = 'counter';
INSERT INTO runs (id, created_at, state, environment, mode, source, source_sha256, columns, options, holder_pid,
  holder_host, holder_since, finished_at, epoch)
SELECT id, created_at, state, environment, mode, source, source_sha256, columns, options, holder_pid,
  holder_host, holder_since, finished_at, epoch FROM old_runs ORDER BY rowid;

-- name: damaged
SELECT old_orders.id FROM old_orders JOIN runs ON runs.id = run_id JOIN old_payloads ON order_id = old_orders.id
LEFT JOIN letters ON letters.state = old_orders.state AND (letters.state = 'loading') = (runs.state = 'loading')
WHERE letter IS NULL OR typeof(line) <> 'integer' OR typeof(key) <> 'text' OR typeof(updated_at) <> 'integer'
  OR typeof(claimed_at) NOT IN ('integer', 'null') OR typeof(lost_drafts) <> 'integer' OR typeof(payload) <> 'blob'
  OR typeof(source_row) NOT IN ('blob', 'null') OR typeof(fingerprint) NOT IN ('blob', 'null')
  OR typeof(task_id) NOT IN ('text', 'null') OR typeof(status) NOT IN ('text', 'null') OR typeof(error) NOT IN ('text', 'null')
LIMIT 1;

-- A run's orders go into chunks of the size of its calls, by line. A chunk's orders are read in the order of their places,
-- because they are by the key of `moved`, which stands first; what `counts` finds was not.
-- name: bring_orders
CREATE TABLE moved (chunk INTEGER, place INTEGER, id INTEGER, run INTEGER, environment TEXT, letter TEXT, rank INTEGER,
  fingerprint INTEGER, PRIMARY KEY (chunk, place)) WITHOUT ROWID;
WITH sized AS (
  SELECT number, id AS run_id, environment, CASE json_type(options, '$.batch_size')
    WHEN 'integer' THEN min(max(1, json_extract(options, '$.batch_size')), 20) ELSE 20 END AS size FROM runs),
numbered AS (
  SELECT old_orders.id, number, sized.environment, size,
    row_number() OVER (PARTITION BY number ORDER BY line, old_orders.id) - 1 AS nth
  FROM old_orders JOIN sized USING (run_id) JOIN old_payloads ON order_id = old_orders.id)
INSERT INTO moved SELECT dense_rank() OVER (ORDER BY number, nth / size), nth % size, numbered.id, number,
  numbered.environment, letter, rank, number_of_print(fingerprint)
FROM numbered JOIN old_orders USING (id) JOIN letters USING (state) ORDER BY 1, 2;
CREATE UNIQUE INDEX moved_orders ON moved (id);
INSERT INTO chunks (id, run, epoch, claimed_at, updated_at, states)
SELECT chunk, run, 0, max(claimed_at), max(updated_at), group_concat(letter, '') FROM moved
CROSS JOIN old_orders ON old_orders.id = moved.id GROUP BY chunk;
INSERT INTO bodies (chunk, packed, meta, body, source)
SELECT chunk, 0, json_group_array(json_array(line, key, length(payload), length(source_row), moved.fingerprint)),
  CAST(group_concat(payload, ',') AS BLOB), CAST(coalesce(group_concat(source_row, ''), '') AS BLOB) FROM moved
CROSS JOIN old_orders ON old_orders.id = moved.id CROSS JOIN old_payloads ON order_id = moved.id GROUP BY chunk;
INSERT INTO results (chunk, part, status, ids)
SELECT chunk, 0, (SELECT status FROM moved AS first JOIN old_orders USING (id) WHERE first.chunk = moved.chunk
    AND task_id IS NOT NULL ORDER BY place LIMIT 1), json_group_array(task_id) FROM moved
CROSS JOIN old_orders ON old_orders.id = moved.id GROUP BY chunk HAVING count(task_id) > 0;
INSERT INTO notes (chunk, place, status, error, lost_drafts)
SELECT moved.chunk, place, iif(old_orders.status IS iif(task_id IS NULL, NULL, results.status), NULL,
    coalesce(old_orders.status, '')) AS other, error, lost_drafts
FROM moved JOIN old_orders USING (id) LEFT JOIN results ON results.chunk = moved.chunk
WHERE other IS NOT NULL OR error IS NOT NULL OR lost_drafts <> 0;
-- name: bring_keys
INSERT INTO keys (environment, key, chunk, place, fingerprint)
SELECT moved.environment, key, chunk, place, moved.fingerprint FROM moved JOIN old_orders USING (id)
ORDER BY moved.environment, key, rank, id DESC ON CONFLICT (environment, key) DO NOTHING;
INSERT INTO contested (run, chunk, place, key)
SELECT moved.run, moved.chunk, moved.place, keys.key FROM moved JOIN runs ON runs.number = moved.run
JOIN old_orders USING (id) JOIN keys ON keys.environment = moved.environment AND keys.key = old_orders.key
WHERE runs.state = 'loading' AND NOT (keys.chunk = moved.chunk AND keys.place = moved.place);
INSERT INTO ledger_meta (name, value) SELECT 'last_chunk', coalesce(max(id), 0) FROM chunks;
INSERT INTO decisions (id, run, chunk, place, key, created, task_id, decided_by, decided_at)
SELECT said.id, run, chunk, place, key, created, task_id, decided_by, decided_at FROM old_decisions AS said
JOIN moved ON moved.id = order_id;
INSERT INTO unused_drafts (task_id, run, key, noted_at, cancelled_at)
SELECT task_id, number, key, noted_at, cancelled_at FROM old_unused_drafts JOIN runs ON runs.id = run_id;

-- name: counts
SELECT 'runs', (SELECT count(*) FROM old_runs), (SELECT count(*) FROM runs) UNION ALL
SELECT 'orders', (SELECT count(*) FROM old_orders), (SELECT count(*) FROM moved JOIN old_orders USING (id)
  JOIN chunks ON chunks.id = moved.chunk AND substr(states, place + 1, 1) = letter
  JOIN bodies ON bodies.chunk = moved.chunk AND json_extract(meta, '$[' || place || '][1]') = key) UNION ALL
SELECT 'decisions', (SELECT count(*) FROM old_decisions), (SELECT count(*) FROM decisions) UNION ALL
SELECT 'unused_drafts', (SELECT count(*) FROM old_unused_drafts), (SELECT count(*) FROM unused_drafts);

-- name: forget
DROP TABLE moved;
DROP TABLE letters;
DROP TABLE old_payloads;
DROP TABLE old_decisions;
DROP TABLE old_unused_drafts;
DROP TABLE old_orders;
DROP TABLE old_runs;
DROP TABLE old_ledger_meta;
