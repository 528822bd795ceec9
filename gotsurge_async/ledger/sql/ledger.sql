-- The tables of a ledger, and all that is asked of them. One text for SQLite and PostgreSQL: see gotsurge_async/database.
--
-- A row stands for a chunk of up to 20 orders, not for an order: a mark then changes one narrow row. `states` has one letter
-- for each order (states.py); an order's number is its chunk's, times 32, plus its place. What changes and what does not
-- are apart: `chunks` changes, `bodies` and `results` are put in once.

-- name: schema
CREATE TABLE ledger_meta (name TEXT PRIMARY KEY, value {big} NOT NULL);
CREATE TABLE counters (slot INTEGER PRIMARY KEY, n {big} NOT NULL);
CREATE TABLE runs (
  number {numbered}, id TEXT NOT NULL UNIQUE, created_at {big} NOT NULL, state TEXT NOT NULL, environment TEXT NOT NULL,
  mode TEXT NOT NULL, source TEXT NOT NULL, source_sha256 TEXT, columns TEXT, options TEXT,
  holder_pid {big}, holder_host TEXT, holder_since {big}, finished_at {big},
  epoch {big} NOT NULL DEFAULT 1, lease_until {big} NOT NULL DEFAULT 0, archived_at {big}, archived_in TEXT);
CREATE TABLE chunks (
  id {big} NOT NULL PRIMARY KEY, run {big} NOT NULL, epoch {big} NOT NULL DEFAULT 0, claimed_at {big}, updated_at {big} NOT NULL,
  states TEXT NOT NULL, open_until {big}){narrow};
CREATE INDEX chunks_of_run ON chunks (run, id);
CREATE TABLE bodies (
  chunk {big} NOT NULL PRIMARY KEY, packed INTEGER NOT NULL DEFAULT 0, meta TEXT NOT NULL, body {bytes} NOT NULL,
  source {bytes} NOT NULL);
CREATE TABLE results (chunk {big} NOT NULL, part INTEGER NOT NULL, status TEXT, ids TEXT NOT NULL, PRIMARY KEY (chunk, part)){by_key};
CREATE TABLE notes (
  chunk {big} NOT NULL, place INTEGER NOT NULL, status TEXT, error TEXT, lost_drafts INTEGER NOT NULL DEFAULT 0,
  cancel_until {big}, PRIMARY KEY (chunk, place)){by_key};
CREATE TABLE keys (
  environment TEXT NOT NULL, key TEXT NOT NULL, chunk {big} NOT NULL, place INTEGER NOT NULL, fingerprint {big},
  PRIMARY KEY (environment, key)){by_key};
CREATE TABLE contested (run {big} NOT NULL, chunk {big} NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (run, chunk, place));
CREATE TABLE unused_drafts (task_id TEXT PRIMARY KEY, run {big} NOT NULL, key TEXT NOT NULL, noted_at {big} NOT NULL, cancelled_at {big});
CREATE INDEX unused_drafts_of_run ON unused_drafts (run);
CREATE TABLE decisions (
  id {numbered}, run {big} NOT NULL, chunk {big} NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, created INTEGER NOT NULL,
  task_id TEXT, decided_by TEXT NOT NULL, decided_at {big} NOT NULL);
CREATE INDEX decisions_of_run ON decisions (run, id);
CREATE TABLE submitted (
  number {numbered}, environment TEXT NOT NULL, account TEXT NOT NULL, key TEXT NOT NULL, payload {bytes} NOT NULL,
  submitted_at {big} NOT NULL, due_at {big} NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  claimed {big} NOT NULL DEFAULT 0, stopped INTEGER NOT NULL DEFAULT 0, UNIQUE (environment, key));
CREATE INDEX submitted_by_due ON submitted (due_at);
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
CREATE TABLE proposals (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL, body {bytes} NOT NULL, created_at {big} NOT NULL, expires_at {big} NOT NULL, state TEXT NOT NULL,
  decided_by TEXT, decided_at {big}, ended_at {big}, exit_code INTEGER, outcome TEXT);

-- A row for each order, for people who look into a ledger with a tool of their own.
-- name: view@sqlite
DROP VIEW IF EXISTS each_order;
CREATE VIEW each_order AS
SELECT chunks.id * 32 + row.key AS id, runs.id AS run_id, json_extract(row.value, '$[0]') AS line, runs.environment,
  json_extract(row.value, '$[1]') AS key,
  CASE WHEN runs.state = 'loading' THEN 'loading' ELSE CASE substr(chunks.states, row.key + 1, 1)
    WHEN 'p' THEN 'pending' WHEN 's' THEN 'sending' WHEN 'g' THEN 'drafting' WHEN 'd' THEN 'drafted'
    WHEN 'b' THEN 'broadcasting' WHEN 'c' THEN 'created' WHEN 'r' THEN 'refused' WHEN 'i' THEN 'in_doubt'
    WHEN 'a' THEN 'already_pushed' WHEN 'h' THEN 'changed' WHEN 'u' THEN 'superseded' WHEN 'x' THEN 'cancelled' WHEN 'w' THEN 'withdrawn' WHEN 'k' THEN 'cancelling' END
  END AS state,
  (SELECT json_extract(ids, '$[' || row.key || ']') FROM results
    WHERE results.chunk = chunks.id AND json_extract(ids, '$[' || row.key || ']') IS NOT NULL) AS task_id,
  notes.error
FROM chunks JOIN runs ON runs.number = chunks.run JOIN bodies ON bodies.chunk = chunks.id, json_each(bodies.meta) AS row
LEFT JOIN notes ON notes.chunk = chunks.id AND notes.place = row.key;
-- name: view@postgresql
CREATE SEQUENCE IF NOT EXISTS chunk_ids;
DROP VIEW IF EXISTS each_order;
CREATE VIEW each_order AS
SELECT chunks.id * 32 + row.place - 1 AS id, runs.id AS run_id, (row.value ->> 0)::bigint AS line, runs.environment,
  row.value ->> 1 AS key,
  CASE WHEN runs.state = 'loading' THEN 'loading' ELSE CASE substr(chunks.states, row.place::int, 1)
    WHEN 'p' THEN 'pending' WHEN 's' THEN 'sending' WHEN 'g' THEN 'drafting' WHEN 'd' THEN 'drafted'
    WHEN 'b' THEN 'broadcasting' WHEN 'c' THEN 'created' WHEN 'r' THEN 'refused' WHEN 'i' THEN 'in_doubt'
    WHEN 'a' THEN 'already_pushed' WHEN 'h' THEN 'changed' WHEN 'u' THEN 'superseded' WHEN 'x' THEN 'cancelled' WHEN 'w' THEN 'withdrawn' WHEN 'k' THEN 'cancelling' END
  END AS state,
  (SELECT max(ids::jsonb ->> (row.place::int - 1)) FROM results WHERE results.chunk = chunks.id) AS task_id,
  notes.error
FROM chunks JOIN runs ON runs.number = chunks.run JOIN bodies ON bodies.chunk = chunks.id
CROSS JOIN LATERAL jsonb_array_elements(bodies.meta::jsonb) WITH ORDINALITY AS row (value, place)
LEFT JOIN notes ON notes.chunk = chunks.id AND notes.place = row.place - 1;

-- --- what the ledger says of itself -----------------------------------------------------------------------------------

-- name: tables@sqlite
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%';
-- name: tables@postgresql
SELECT tablename FROM pg_tables WHERE schemaname = current_schema();
-- name: meta
SELECT name, value FROM ledger_meta;
-- name: remember
INSERT INTO ledger_meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
-- name: count
INSERT INTO counters AS kept (slot, n) VALUES (:slot, :n) ON CONFLICT (slot) DO UPDATE SET n = kept.n + excluded.n
RETURNING n, n + (SELECT CAST(coalesce(sum(others.n), 0) AS {big}) FROM counters AS others WHERE others.slot <> :slot);
-- name: counted
SELECT CAST(coalesce(sum(n), 0) AS {big}) FROM counters;
-- name: counted_by
SELECT n FROM counters WHERE slot = :slot;
-- name: size@sqlite
SELECT page_count * page_size, (SELECT coalesce(sum(length(states)), 0) FROM chunks) FROM pragma_page_count, pragma_page_size;
-- name: size@postgresql
SELECT (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    AND relkind = 'r' AND relname IN ('ledger_meta', 'counters', 'runs', 'chunks', 'bodies', 'results', 'notes', 'keys', 'contested',
    'unused_drafts', 'decisions', 'distributions', 'segments', 'workers', 'proposals'))::bigint, (SELECT coalesce(sum(length(states)), 0) FROM chunks)::bigint;
-- name: page_count@sqlite
PRAGMA page_count;
-- name: last_chunk@sqlite
SELECT (SELECT value FROM ledger_meta WHERE name = 'last_chunk'), (SELECT max(id) FROM chunks);
-- name: last_chunk@postgresql
SELECT (SELECT last_value FROM chunk_ids), (SELECT max(id) FROM chunks);
-- name: vacuum@sqlite
VACUUM;
PRAGMA wal_checkpoint(TRUNCATE);
-- name: vacuum@postgresql
VACUUM (ANALYZE) ledger_meta, counters, runs, chunks, bodies, results, notes, keys, contested, unused_drafts, decisions, distributions,
  segments, workers, proposals;

-- --- runs -------------------------------------------------------------------------------------------------------------

-- name: run
SELECT * FROM runs WHERE id = :id;
-- name: newest_runs
SELECT * FROM runs ORDER BY number DESC LIMIT :most;
-- name: runs_with_results
SELECT number FROM runs WHERE EXISTS (SELECT 1 FROM chunks JOIN results ON results.chunk = chunks.id WHERE chunks.run = runs.number);
-- name: runs_in
SELECT id FROM runs WHERE state {among:states} ORDER BY number;
-- name: runs_numbered
SELECT * FROM runs WHERE number {among:numbers};
-- name: begin_run
INSERT INTO runs (id, created_at, state, environment, mode, source, source_sha256, columns, options, holder_pid, holder_host,
  holder_since, epoch) VALUES (:id, :created_at, :state, :environment, :mode, :source, :source_sha256, :columns, :options, :pid,
  :host, :since, :epoch) ON CONFLICT (id) DO NOTHING;
-- name: hold_run
UPDATE runs SET holder_pid = :pid, holder_host = :host, holder_since = :since WHERE id = :id;
-- name: leave_run
UPDATE runs SET holder_pid = NULL, holder_host = NULL, holder_since = NULL, lease_until = 0 WHERE id = :id AND epoch = :epoch;
-- name: set_options
UPDATE runs SET options = :options WHERE number = :number;
-- name: epoch
SELECT epoch FROM runs WHERE number = :number {for_share};
-- word: epoch_and_meta
SELECT epoch, (SELECT value FROM ledger_meta WHERE name = 'older_accepted_at') AS accepted,
  (SELECT value FROM ledger_meta WHERE name = 'first_epoch') AS first FROM runs WHERE number = :number {for_share}
-- The run's row first, then those of keys.
-- name: fence_and_keys@sqlite
SELECT *, NULL, NULL, NULL FROM ({epoch_and_meta})
UNION ALL SELECT NULL, NULL, NULL, keys.key, chunk, place
FROM json_each(:keys) AS named CROSS JOIN keys ON environment = :environment AND keys.key = named.value;
-- name: fence_and_keys@postgresql
WITH fence AS ({epoch_and_meta}) SELECT *, NULL::text, NULL::bigint, NULL::integer FROM fence
UNION ALL SELECT NULL, NULL, NULL, key, chunk, place FROM keys WHERE environment = :environment AND key {among:keys};
-- name: start_run
UPDATE runs SET state = 'sending', finished_at = NULL WHERE number = :number AND state <> 'loading';
-- name: raise_epoch
UPDATE runs SET epoch = epoch + 1 WHERE id = :id RETURNING number, epoch;
-- name: raise_run_epochs
UPDATE runs SET epoch = epoch + :by;
-- name: raise_chunk_epochs
UPDATE chunks SET epoch = epoch + :by;
-- name: stop_loading
UPDATE runs SET state = 'stopped' WHERE state = 'loading';
-- name: set_run_state
UPDATE runs SET state = :state, finished_at = :finished_at WHERE number = :number;
-- name: admit_run
UPDATE runs SET state = :state, source_sha256 = coalesce(:source_sha256, source_sha256) WHERE number = :number;
-- name: delete_run
DELETE FROM runs WHERE number = :number;

-- Leases: PostgreSQL has no lock that dies with a process on another machine. Its clock counts, nobody else's.
-- A run is not free either while a worker has a segment of it. Under the epoch `mine` its lease is the caller's own.
-- name: take_free_run@postgresql
SELECT epoch = :mine OR lease_until < extract(epoch FROM clock_timestamp()) * 1000000 FROM runs WHERE id = :id FOR UPDATE SKIP LOCKED;
-- name: is_free@postgresql
SELECT (epoch = :mine OR lease_until < extract(epoch FROM clock_timestamp()) * 1000000) AND NOT EXISTS (
  SELECT 1 FROM segments WHERE segments.run = runs.number
    AND segments.lease_until >= extract(epoch FROM clock_timestamp()) * 1000000) FROM runs WHERE id = :id;
-- name: lease_run@postgresql
UPDATE runs SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :lease WHERE id = :id AND epoch = :epoch;

-- --- segments: parts of a run that workers send, on many machines; in PostgreSQL only -------------------------------

-- A run is put up while it has a row in `distributions` that is not stopped. Whoever locks both locks the run's row first.
-- name: put_up
INSERT INTO distributions (run, put_up_at, epoch, brakes, refused, in_doubt, spend, spend_limit)
VALUES (:run, :now, :epoch, :brakes, :refused, :in_doubt, :spend, :spend_limit);
-- name: make_segments
INSERT INTO segments (run, number, first_chunk, last_chunk)
SELECT :run, nth / :size, min(id), max(id) FROM (
  SELECT id, row_number() OVER (ORDER BY id) - 1 AS nth FROM chunks WHERE run = :run AND states {like} :letters) AS numbered
GROUP BY nth / :size;
-- name: segment_ranges
SELECT number, first_chunk, last_chunk FROM segments WHERE run = :run ORDER BY number;
-- Each counts what is refused and in doubt in it when it is given back; in all, with what lies in none, that is the run's.
-- name: count_segments
UPDATE segments SET refused = found.refused, in_doubt = found.in_doubt FROM (
  SELECT number, sum(length(states) - length(replace(states, :refused, ''))) AS refused,
    sum(length(states) - length(replace(states, :in_doubt, ''))) AS in_doubt
  FROM segments JOIN chunks ON chunks.run = segments.run AND chunks.id BETWEEN first_chunk AND last_chunk
  WHERE segments.run = :run GROUP BY number) AS found
WHERE segments.run = :run AND segments.number = found.number;
-- name: price_segments
UPDATE segments SET price = new.column3, spend = new.column4 FROM (VALUES {rows}) AS new
WHERE segments.run = new.column1 AND segments.number = new.column2;
-- name: tally
SELECT coalesce(sum(refused), 0), coalesce(sum(in_doubt), 0), coalesce(sum(spend), 0) FROM segments
WHERE run = :run AND number <> :unless;
-- name: elsewhere
SELECT refused, in_doubt, spend, spend_limit FROM distributions WHERE run = :run;
-- name: lock_distribution
SELECT run FROM distributions WHERE run = :run {for_update};
-- name: reserve_spend
UPDATE segments SET spend = :spend WHERE run = :run AND number = :number;
-- name: spent
UPDATE segments SET spend = :spend WHERE run = :run AND number = :number AND lease_until = 0;
-- name: is_put_up
SELECT 1 FROM distributions WHERE run = :run AND stopped_at IS NULL;
-- name: distribution
SELECT put_up_at, brakes, stopped_at, stopped_as, stopped_by FROM distributions WHERE run = :run;
-- name: stop_distribution
UPDATE distributions SET stopped_at = :now, stopped_as = :kind, stopped_by = :why WHERE run = :run AND stopped_at IS NULL;
-- name: forget_distribution
DELETE FROM distributions WHERE run = :run;
-- name: forget_segments
DELETE FROM segments WHERE run = :run;
-- name: withdraw_all
DELETE FROM distributions;
DELETE FROM segments;
-- name: raise_segment_epochs
UPDATE segments SET epoch = epoch + 1, lease_until = 0 WHERE run = :run;
-- name: segment_epochs@postgresql
SELECT runs.epoch, segments.epoch FROM segments JOIN runs ON runs.number = segments.run
WHERE segments.run = :run AND segments.number = :segment FOR SHARE OF segments;
-- name: run_of_segments@postgresql
SELECT runs.number FROM runs JOIN distributions ON distributions.run = runs.number
WHERE runs.id = :id AND runs.state = 'sending' AND stopped_at IS NULL
  AND runs.lease_until < extract(epoch FROM clock_timestamp()) * 1000000 FOR SHARE OF runs;
-- name: take_segment@postgresql
UPDATE segments SET epoch = epoch + 1, worker = :worker, tries = tries + 1,
  lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :lease
WHERE run = :run AND number = (
  SELECT number FROM segments WHERE run = :run AND number = :number AND state = 'open'
    AND lease_until < extract(epoch FROM clock_timestamp()) * 1000000 FOR UPDATE SKIP LOCKED)
RETURNING epoch, first_chunk, last_chunk, tries, price;
-- name: lease_segment@postgresql
UPDATE segments SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :lease
WHERE run = :run AND number = :number AND epoch = :epoch;
-- name: leave_segment
UPDATE segments SET state = :state, worker = NULL, lease_until = 0, refused = :refused, in_doubt = :in_doubt,
  tries = CASE WHEN :moved = 1 THEN 0 ELSE tries END WHERE run = :run AND number = :number AND epoch = :epoch;
-- name: close_emptied
UPDATE segments SET state = 'done' WHERE run = :run AND state = 'open' AND NOT EXISTS (
  SELECT 1 FROM chunks WHERE chunks.run = segments.run AND id BETWEEN first_chunk AND last_chunk AND states {like} :letters);
-- name: lock_run
SELECT id FROM runs WHERE number = :number {for_update};
-- name: open_segments@postgresql
SELECT count(*), count(*) FILTER (WHERE lease_until >= extract(epoch FROM clock_timestamp()) * 1000000)
FROM segments WHERE run = :run AND state = 'open';
-- name: workers_of_run@postgresql
SELECT DISTINCT worker FROM segments JOIN runs ON runs.number = run
WHERE runs.id = :id AND segments.lease_until >= extract(epoch FROM clock_timestamp()) * 1000000 ORDER BY worker;
-- name: segments_to_send@postgresql
SELECT runs.id, segments.number, distributions.epoch, segments.worker IS NOT NULL FROM segments JOIN runs ON runs.number = segments.run
JOIN distributions ON distributions.run = runs.number
WHERE runs.environment = :environment AND runs.state = 'sending' AND stopped_at IS NULL AND segments.state = 'open'
  AND segments.lease_until < extract(epoch FROM clock_timestamp()) * 1000000
ORDER BY segments.worker IS NULL, segments.run, segments.number LIMIT :most;
-- name: runs_to_finish@postgresql
SELECT runs.number FROM runs JOIN distributions ON distributions.run = runs.number
WHERE runs.environment = :environment AND runs.state = 'sending'
  AND runs.lease_until < extract(epoch FROM clock_timestamp()) * 1000000 AND NOT EXISTS (
    SELECT 1 FROM segments WHERE segments.run = runs.number AND segments.state = 'open' AND (stopped_at IS NULL
      OR segments.lease_until >= extract(epoch FROM clock_timestamp()) * 1000000));

-- name: register_worker@postgresql
INSERT INTO workers (id, host, pid, version, environment, started_at, beat_at, state, segments, orders, orders_per_minute)
SELECT :id, :host, :pid, :version, :environment, now, now, 'working', 0, 0, 0
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) AS clock
ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, state = excluded.state;
-- name: beat@postgresql
UPDATE workers SET beat_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, state = :state, segments = :segments,
  orders = :orders, orders_per_minute = :orders_per_minute, trouble = :trouble WHERE id = :id;
-- name: leave_work
DELETE FROM workers WHERE id = :id;
-- name: forget_workers@postgresql
DELETE FROM workers WHERE beat_at < extract(epoch FROM clock_timestamp()) * 1000000 - :silent;
-- name: workers@postgresql
SELECT state, segments, orders, orders_per_minute, trouble, id, host, pid, version, environment, started_at, beat_at,
  (extract(epoch FROM clock_timestamp()) - beat_at / 1e6)::float8 AS silent FROM workers ORDER BY started_at, id;

-- --- chunks -----------------------------------------------------------------------------------------------------------

-- name: allot@sqlite
INSERT INTO ledger_meta (name, value) VALUES ('last_chunk', :n) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value;
-- name: allot@postgresql
SELECT nextval('chunk_ids') FROM generate_series(1, :n);
-- name: add_chunks
INSERT INTO chunks (id, run, epoch, updated_at, states, claimed_at, open_until) VALUES {rows};
-- name: add_bodies
INSERT INTO bodies (chunk, packed, meta, body, source) VALUES {rows};
-- name: add_keys
INSERT INTO keys (environment, key, chunk, place, fingerprint) VALUES {rows} ON CONFLICT (environment, key) DO NOTHING;
-- name: add_contested
INSERT INTO contested (run, chunk, place, key) VALUES {rows} ON CONFLICT (run, chunk, place) DO NOTHING;
-- name: chunks
SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks WHERE id {among:ids} ORDER BY id;
-- word: whole
SELECT chunks.id, chunks.run, chunks.epoch, claimed_at, updated_at, states, open_until, bodies.chunk, packed, meta, body, bodies.source, runs.*
-- word: with_run_and_body
LEFT JOIN runs ON runs.number = chunks.run LEFT JOIN bodies ON bodies.chunk = chunks.id
-- SQLite makes a table in memory for the values of IN, which costs more than to find a chunk.
-- name: chunks_whole@sqlite
{whole} FROM json_each(:ids) AS named CROSS JOIN chunks ON chunks.id = named.value {with_run_and_body};
-- name: chunks_whole@postgresql
{whole} FROM chunks {with_run_and_body} WHERE chunks.id {among:ids};
-- name: chunk
SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks WHERE id = :id;
-- name: lock_chunk
SELECT id FROM chunks WHERE id = :id {for_update};
-- name: chunks_of_run
SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks WHERE run = :run AND id > :after AND id <= :last ORDER BY id LIMIT :most;
-- name: chunks_with
SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks
WHERE run = :run AND id > :after AND id <= :last AND states {like} :letters ORDER BY id LIMIT :most;
-- name: chunks_anywhere_with
SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks WHERE id > :after AND states {like} :letters ORDER BY id LIMIT :most;
-- name: states_of_run
SELECT states, count(*) FROM chunks WHERE run = :run AND id BETWEEN :first AND :last GROUP BY states;
-- name: change
UPDATE chunks SET epoch = new.column4, claimed_at = CAST(new.column5 AS {big}), updated_at = new.column6, states = new.column7,
  open_until = CAST(new.column8 AS {big})
FROM (VALUES {rows}) AS new WHERE chunks.id = new.column1 AND chunks.epoch = new.column2 AND chunks.states = new.column3;
-- The same for a single row: SQLite makes a table in memory for the values of several.
-- word: change_one
UPDATE chunks SET epoch = :epoch, claimed_at = :claimed_at, updated_at = :now, states = :states, open_until = :open_until
WHERE id = :id AND epoch = :was_epoch AND states = :was_states
-- name: change_one
{change_one};
-- name: change_one_with_result@postgresql
WITH changed AS ({change_one} RETURNING id)
INSERT INTO results (chunk, part, status, ids) SELECT id, :part, :status, :ids FROM changed;
-- name: bodies
SELECT chunk, packed, meta, body, source FROM bodies WHERE chunk {among:ids};
-- name: change_body
UPDATE bodies SET packed = :packed, meta = :meta, body = :body WHERE chunk = :chunk;
-- name: results
SELECT chunk, part, status, ids FROM results WHERE chunk {among:ids} ORDER BY chunk, part;
-- name: results_of_chunk
SELECT chunk, part, status, ids FROM results WHERE chunk = :chunk ORDER BY part;
-- name: results_and_notes@sqlite
SELECT chunk, part, status, ids, NULL, NULL, NULL FROM json_each(:ids) AS named CROSS JOIN results ON chunk = named.value
UNION ALL SELECT chunk, place, status, NULL, error, lost_drafts, cancel_until
FROM json_each(:ids) AS named CROSS JOIN notes ON chunk = named.value;
-- name: results_and_notes@postgresql
SELECT chunk, part, status, ids, NULL, NULL, NULL FROM results WHERE chunk {among:ids}
UNION ALL SELECT chunk, place, status, NULL, error, lost_drafts, cancel_until FROM notes WHERE chunk {among:ids};
-- name: add_results
INSERT INTO results (chunk, part, status, ids) VALUES {rows};
-- name: notes
SELECT chunk, place, status, error, lost_drafts, cancel_until FROM notes WHERE chunk {among:ids};
-- name: notes_of_chunk
SELECT chunk, place, status, error, lost_drafts, cancel_until FROM notes WHERE chunk = :chunk;
-- name: lost_of_run
SELECT notes.chunk, place, lost_drafts FROM notes JOIN chunks ON chunks.id = notes.chunk WHERE run = :run AND lost_drafts > 0
AND chunk BETWEEN :first AND :last;
-- name: note
INSERT INTO notes (chunk, place, status, error, lost_drafts, cancel_until) VALUES {rows}
ON CONFLICT (chunk, place) DO UPDATE SET status = excluded.status, error = excluded.error, lost_drafts = excluded.lost_drafts,
  cancel_until = excluded.cancel_until;
-- name: chunks_that_name@sqlite
SELECT DISTINCT chunks.id, run, chunks.epoch, claimed_at, updated_at, states, open_until FROM json_each(:quoted) AS named
JOIN bodies ON instr(bodies.meta, named.value) > 0 JOIN chunks ON chunks.id = bodies.chunk JOIN runs ON runs.number = run
WHERE environment = :environment;
-- name: chunks_that_name@postgresql
SELECT DISTINCT chunks.id, run, chunks.epoch, claimed_at, updated_at, states, open_until FROM unnest(:quoted::text[]) AS named
JOIN bodies ON position(named IN bodies.meta) > 0 JOIN chunks ON chunks.id = bodies.chunk JOIN runs ON runs.number = run
WHERE environment = :environment;
-- name: recorded@sqlite
SELECT results.chunk, ids.key, ids.value FROM results JOIN chunks ON chunks.id = results.chunk JOIN runs ON runs.number = chunks.run,
  json_each(results.ids) AS ids WHERE runs.environment = :environment AND ids.value {among:ids};
-- name: recorded@postgresql
SELECT results.chunk, ids.place - 1, ids.value FROM results JOIN chunks ON chunks.id = results.chunk
  JOIN runs ON runs.number = chunks.run CROSS JOIN LATERAL jsonb_array_elements_text(results.ids::jsonb) WITH ORDINALITY AS ids (value, place)
WHERE runs.environment = :environment AND ids.value {among:ids};
-- The chunks first: where only what has changed since a time is asked for, the ids of the others are not read.
-- name: task_ids
SELECT chunks.id, results.ids FROM chunks CROSS JOIN results CROSS JOIN runs
WHERE results.chunk = chunks.id AND runs.number = chunks.run AND runs.environment = :environment
  AND chunks.updated_at >= :since AND chunks.id BETWEEN :first AND :last;
-- name: tasks_twice@sqlite
SELECT ids.value, min(chunks.id * 32 + ids.key), max(chunks.id * 32 + ids.key) FROM results JOIN chunks ON chunks.id = chunk
JOIN runs ON runs.number = run, json_each(results.ids) AS ids
WHERE ids.value IS NOT NULL AND instr(:live, substr(states, ids.key + 1, 1)) > 0 GROUP BY environment, ids.value HAVING count(*) > 1;
-- name: tasks_twice@postgresql
SELECT ids.value, min(chunks.id * 32 + ids.place - 1), max(chunks.id * 32 + ids.place - 1) FROM results JOIN chunks ON chunks.id = chunk
JOIN runs ON runs.number = run CROSS JOIN LATERAL jsonb_array_elements_text(results.ids::jsonb) WITH ORDINALITY AS ids (value, place)
WHERE ids.value IS NOT NULL AND strpos(:live, substr(states, ids.place::int, 1)) > 0 GROUP BY environment, ids.value HAVING count(*) > 1;

-- --- keys -------------------------------------------------------------------------------------------------------------

-- A key leads to the order that has it, or had it last. It is taken while that order's state is live, and its run is admitted.
-- name: keys@sqlite
SELECT keys.key, chunk, place FROM json_each(:keys) AS named CROSS JOIN keys ON environment = :environment AND keys.key = named.value;
-- name: keys@postgresql
SELECT key, chunk, place FROM keys WHERE environment = :environment AND key {among:keys};
-- name: some_keys
SELECT key FROM keys WHERE environment = :environment AND key > :after ORDER BY key LIMIT :most;
-- name: keys_astray
SELECT environment, key, chunk FROM keys JOIN chunks ON chunks.id = chunk WHERE place >= length(states);
-- An index over fingerprints would cost each order more than all else that is put in: they come in no order. So whoever
-- asks sorts all that live orders have, or, for a few orders, looks through them: about a microsecond each.
-- Of the groups of orders that are alike the first ones are given, whole (up to `each` of ours, and as many others).
-- name: prints
SELECT fingerprint FROM keys WHERE environment = :environment AND chunk BETWEEN :first AND :last AND fingerprint IS NOT NULL;
-- name: prints_elsewhere
SELECT 1 FROM keys WHERE environment = :environment AND NOT (chunk BETWEEN :first AND :last) AND fingerprint {among:prints} LIMIT 1;
-- name: alike
WITH live AS (
  SELECT fingerprint, chunk, place, CASE WHEN run = :run AND substr(states, place + 1, 1) = :pending THEN 1 ELSE 0 END AS mine
  FROM keys JOIN chunks ON chunks.id = keys.chunk JOIN runs ON runs.number = chunks.run
  WHERE keys.environment = :environment AND fingerprint IS NOT NULL AND (:few = 0 OR fingerprint IN (
      SELECT fingerprint FROM keys WHERE environment = :environment AND chunk BETWEEN :first AND :last))
    AND substr(states, place + 1, 1) {like} :live AND archived_at IS NULL AND (runs.state <> 'loading' OR run = :run)),
alike AS (
  SELECT fingerprint, min(CASE WHEN mine = 1 THEN chunk END) AS first_chunk FROM live GROUP BY fingerprint
  HAVING count(*) > CASE WHEN :alone = 1 THEN 1 ELSE sum(mine) END AND max(mine) = 1 ORDER BY first_chunk LIMIT :most)
SELECT fingerprint, chunk, place FROM (
  SELECT live.fingerprint, chunk, place, first_chunk,
    row_number() OVER (PARTITION BY live.fingerprint, mine ORDER BY chunk, place) AS nth
  FROM live JOIN alike ON alike.fingerprint = live.fingerprint) AS numbered
WHERE nth <= :each ORDER BY first_chunk, fingerprint, chunk, place LIMIT :rows;
-- name: span_of_run
SELECT min(id), max(id) FROM chunks WHERE run = :run;
-- name: take_key
INSERT INTO keys (environment, key, chunk, place, fingerprint) VALUES (:environment, :key, :chunk, :place, :fingerprint)
ON CONFLICT (environment, key) DO UPDATE SET chunk = excluded.chunk, place = excluded.place, fingerprint = excluded.fingerprint
WHERE keys.chunk = :from_chunk AND keys.place = :from_place;
-- name: creating
SELECT 1;
{one_creates}
-- name: admitting@sqlite
SELECT 1;
-- name: admitting@postgresql
SELECT pg_advisory_xact_lock(7237103002);
-- name: contested
SELECT chunk, place, key FROM contested WHERE run = :run AND (chunk, place) > (:chunk, :place) ORDER BY chunk, place LIMIT :most;
-- name: contested_twice
SELECT key, chunk, place FROM contested WHERE run = :run AND key IN (
  SELECT key FROM contested WHERE run = :run GROUP BY key HAVING count(*) > 1
  UNION ALL SELECT keys.key FROM keys JOIN chunks ON chunks.id = keys.chunk JOIN contested AS mine ON mine.key = keys.key
    WHERE mine.run = :run AND chunks.run = :run AND environment = :environment AND (keys.chunk <> mine.chunk OR keys.place <> mine.place))
ORDER BY chunk, place LIMIT :most;
-- name: contested_of_chunk
SELECT contested.place, keys.chunk, keys.place FROM contested JOIN runs ON runs.number = contested.run
JOIN keys ON keys.environment = runs.environment AND keys.key = contested.key
WHERE contested.chunk = :chunk AND NOT (keys.chunk = contested.chunk AND keys.place = contested.place);
-- name: forget_contested
DELETE FROM contested WHERE run = :run;
-- name: release_keys
DELETE FROM keys WHERE environment = :environment AND key {among:keys} AND chunk {among:chunks};
-- name: delete_chunks
DELETE FROM chunks WHERE id {among:chunks};
-- name: delete_bodies
DELETE FROM bodies WHERE chunk {among:chunks};
-- name: delete_results
DELETE FROM results WHERE chunk {among:chunks};
-- name: delete_notes
DELETE FROM notes WHERE chunk {among:chunks};

-- --- submitted orders -------------------------------------------------------------------------------------------------

-- A row stays until its outcome is known. It is claimed by the number of the order of a run that has, or had, its key for it;
-- another order with the key has another outcome. One that an older copy stopped (2) is taken only to be reported. Nothing may wait for the transaction of a caller who has just submitted the same key.
-- name: wait_at_most@postgresql
SELECT current_setting('lock_timeout'), set_config('lock_timeout', :limit, true);
-- name: has_ledger@postgresql
SELECT 1 WHERE to_regclass('ledger_meta') IS NOT NULL;
-- name: has_meta
SELECT 1 FROM ledger_meta WHERE name = :name AND value = :value;
-- name: submit@sqlite
INSERT INTO submitted (environment, account, key, payload, submitted_at, due_at) VALUES (:environment, :account, :key, :payload, :now, :now)
ON CONFLICT (environment, key) DO NOTHING;
-- name: submit@postgresql
-- The limit is part of the statement, because a connection in autocommit forgets it with each.
WITH limited AS MATERIALIZED (SELECT set_config('lock_timeout', :limit, true))
INSERT INTO submitted (environment, account, key, payload, submitted_at, due_at)
SELECT :environment, :account, :key, CAST(:payload AS BYTEA), CAST(:now AS BIGINT), CAST(:now AS BIGINT) FROM limited
ON CONFLICT (environment, key) DO NOTHING;
-- name: submitted
SELECT number, account, key, payload, submitted_at, tries, claimed, stopped FROM submitted WHERE environment = :environment AND key = :key;
-- name: is_submitted
SELECT 1 FROM submitted WHERE environment = :environment AND account = :account
  AND (due_at <= :now OR due_at > :latest) AND stopped IN (0, 2) LIMIT 1;
-- name: take_submitted
UPDATE submitted SET due_at = :until WHERE number IN (
  SELECT number FROM submitted WHERE environment = :environment AND account = :account
  AND (due_at <= :now OR due_at > :latest) AND stopped IN (0, 2)
  ORDER BY due_at, number LIMIT :most {skip_locked})
RETURNING number, account, key, payload, submitted_at, tries, claimed, stopped;
-- name: still_submitted
SELECT number FROM submitted WHERE number {among:numbers} AND claimed = 0 AND stopped = 0 {skip_locked};
-- word: number_of_owner
(SELECT keys.chunk * 32 + keys.place FROM keys WHERE keys.environment = submitted.environment AND keys.key = submitted.key)
-- name: claim_submitted
UPDATE submitted SET claimed = {number_of_owner} WHERE number {among:numbers};
-- One that is skipped stays claimed by a superseded order: the key's owner has its outcome all the same, and frees it.
-- name: hand_over_submitted
UPDATE submitted SET claimed = {number_of_owner} WHERE number IN (SELECT number FROM submitted
  WHERE environment = :environment AND key {among:keys} AND claimed {among:orders} {skip_locked});
-- name: unclaim_submitted
UPDATE submitted SET claimed = 0, due_at = :now WHERE environment = :environment AND key {among:keys}
  AND (claimed {among:orders} OR number IN (SELECT number FROM submitted WHERE environment = :environment AND key {among:keys}
    AND (SELECT substr(states, CAST(claimed - claimed / 32 * 32 AS INTEGER) + 1, 1) FROM chunks WHERE id = claimed / 32) = 'u' {skip_locked}));
-- name: put_off
UPDATE submitted SET due_at = :due_at, tries = tries + :more
WHERE number IN (SELECT number FROM submitted WHERE number {among:numbers} {skip_locked});
-- name: stop_submitted
UPDATE submitted SET stopped = :stopped WHERE number = :number AND claimed = 0;
-- name: stop_all_submitted
UPDATE submitted SET stopped = :stopped WHERE claimed = 0 AND stopped = 0;
-- name: forget_submitted
DELETE FROM submitted WHERE number IN (SELECT number FROM submitted WHERE number = :number {skip_locked});
-- name: replace_submitted@sqlite
DELETE FROM submitted WHERE number = :number AND (claimed > 0 OR stopped > 0);
-- name: replace_submitted@postgresql
WITH limited AS MATERIALIZED (SELECT set_config('lock_timeout', :limit, true))
DELETE FROM submitted USING limited WHERE number = :number AND (claimed > 0 OR stopped > 0);
-- name: count_submitted
SELECT environment, sum(CASE WHEN claimed = 0 AND stopped = 0 THEN 1 ELSE 0 END), sum(CASE WHEN stopped > 0 THEN 1 ELSE 0 END)
FROM submitted GROUP BY environment ORDER BY environment;

-- --- drafts that nobody uses, and operators' words -------------------------------------------------------------------

-- name: unused_drafts
SELECT task_id, key, noted_at, cancelled_at FROM unused_drafts WHERE run = :run ORDER BY noted_at, task_id;
-- name: unused_by_key
SELECT key, count(*) FROM unused_drafts WHERE run = :run AND key {among:keys} GROUP BY key;
-- name: known_unused
SELECT task_id FROM unused_drafts WHERE task_id {among:ids} AND run > 0;
-- name: keys_of_unused
SELECT task_id, key FROM unused_drafts WHERE task_id {among:ids} AND run > 0;
-- name: being_cancelled
SELECT task_id FROM unused_drafts WHERE task_id {among:ids} AND cancelled_at IS NOT NULL AND (run = 0 AND key IN ('', :environment)
  OR EXISTS (SELECT 1 FROM runs WHERE number = unused_drafts.run AND environment = :environment));
-- name: cancel_may_act
SELECT task_id, noted_at FROM unused_drafts WHERE task_id {among:ids} AND run = 0 AND noted_at > :now AND key IN ('', :environment);
-- name: runs_of_unused
SELECT run FROM unused_drafts WHERE task_id {among:ids};
-- name: add_unused
INSERT INTO unused_drafts (task_id, run, key, noted_at, cancelled_at) VALUES {rows} ON CONFLICT (task_id)
DO UPDATE SET run = excluded.run, key = excluded.key, noted_at = excluded.noted_at, cancelled_at = 0 WHERE unused_drafts.run = 0;
-- A task that no order has, and that a person cancels, has the run 0, its environment as key ('': any), and is noted until
-- the cancel can no longer act. Its cancelled_at is the number of the only command that cancels it, or 0.
-- name: cancel_of_unknown
INSERT INTO unused_drafts (task_id, run, key, noted_at, cancelled_at) VALUES {rows} ON CONFLICT (task_id)
DO UPDATE SET
  noted_at = CASE WHEN unused_drafts.noted_at > excluded.noted_at THEN unused_drafts.noted_at ELSE excluded.noted_at END,
  key = CASE WHEN unused_drafts.key = excluded.key THEN excluded.key ELSE '' END,
  cancelled_at = CASE WHEN unused_drafts.cancelled_at = excluded.cancelled_at THEN excluded.cancelled_at ELSE 0 END
WHERE unused_drafts.run = 0;
-- Who writes chunks now may not have seen a note; who begins later sees it. A lock of the table would hold up all writers.
-- name: recording@sqlite
SELECT NULL WHERE FALSE;
-- name: recording@postgresql
SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'chunks'::regclass AND mode = 'RowExclusiveLock'
  AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
-- name: forget_cancels
DELETE FROM unused_drafts WHERE run = 0 AND cancelled_at = :command AND cancelled_at > 0 AND task_id {among:ids};
-- name: forget_old_cancels
DELETE FROM unused_drafts WHERE run = 0 AND noted_at < :before;
-- name: cancel_begins
UPDATE unused_drafts SET cancelled_at = 0 WHERE task_id {among:ids} AND cancelled_at IS NULL;
-- name: unused_cancelled
UPDATE unused_drafts SET cancelled_at = :now WHERE run = :run AND task_id {among:ids};
-- name: decide
INSERT INTO decisions (run, chunk, place, key, created, task_id, decided_by, decided_at)
VALUES (:run, :chunk, :place, :key, :created, :task_id, :by, :at);
-- name: decisions
SELECT chunk, place, key, created, task_id, decided_by, decided_at FROM decisions WHERE run = :run ORDER BY id;

-- --- proposals ------------------------------------------------------------------------------------------------------------

-- Two that propose at once must not both pass a limit.
-- name: one_proposes@sqlite
SELECT 1;
-- name: one_proposes@postgresql
LOCK TABLE proposals IN SHARE ROW EXCLUSIVE MODE;
-- name: propose
INSERT INTO proposals (id, digest, body, created_at, expires_at, state) VALUES (:id, :digest, :body, :now, :expires_at, 'proposed');
-- name: proposal
SELECT * FROM proposals WHERE id = :id;
-- name: proposals_of
SELECT * FROM proposals WHERE digest = :digest ORDER BY length(id) DESC, id DESC;
-- name: proposals_since
SELECT * FROM proposals WHERE created_at > :since ORDER BY created_at DESC, id LIMIT :most;
-- name: proposals_sent_since
SELECT * FROM proposals WHERE decided_at > :since AND state <> 'rejected';
-- name: decide_proposal
UPDATE proposals SET state = :state, decided_by = :by, decided_at = :now, outcome = :outcome
WHERE id = :id AND digest = :digest AND state = 'proposed' AND expires_at > :now;
-- name: send_proposal_again
UPDATE proposals SET decided_by = :by, decided_at = CASE WHEN :now > :since THEN :now ELSE :since + 1 END
WHERE id = :id AND digest = :digest AND state = 'sending' AND decided_at = :since AND expires_at > :now;
-- name: give_up_proposal
UPDATE proposals SET state = 'failed', decided_by = :by, decided_at = :now, ended_at = :now, outcome = :outcome
WHERE id = :id AND digest = :digest AND state = 'sending' AND decided_at = :since AND expires_at <= :now;
-- name: end_proposal
UPDATE proposals SET state = :state, ended_at = :now, exit_code = :exit_code, outcome = :outcome
WHERE id = :id AND state = 'sending' AND decided_at = :since;

-- --- archiving --------------------------------------------------------------------------------------------------------

-- name: archivable
SELECT id FROM runs WHERE state = 'done' AND finished_at < :before AND archived_at IS NULL ORDER BY number;
-- name: mark_archived
UPDATE runs SET archived_at = :at, archived_in = :where WHERE number = :number;
-- name: archive_chunks
INSERT INTO chunks (id, run, epoch, claimed_at, updated_at, states, open_until) VALUES {rows};
-- name: add_decisions
INSERT INTO decisions (run, chunk, place, key, created, task_id, decided_by, decided_at) VALUES {rows};
-- name: forget_unused
DELETE FROM unused_drafts WHERE run = :number;
-- name: forget_decisions
DELETE FROM decisions WHERE run = :number;
-- name: raise_epochs_of_run
UPDATE chunks SET epoch = epoch + 1 WHERE run = :run;
-- name: settle_states
UPDATE chunks SET states = :states WHERE id = :id AND states <> :states;
-- name: empty_bodies
UPDATE bodies SET packed = 2, meta = '[]', body = :nothing, source = :nothing WHERE chunk IN (SELECT id FROM chunks WHERE run = :run);
-- name: forget_notes_of_run
DELETE FROM notes WHERE chunk IN (SELECT id FROM chunks WHERE run = :run);
