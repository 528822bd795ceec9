-- The tables of the order book, and all that is asked of them. One text for SQLite and PostgreSQL: see gotsurge_async/database.

-- name: there@sqlite
SELECT 1 FROM sqlite_master WHERE name = 'book_meta';
-- name: there@postgresql
SELECT 1 WHERE to_regclass('book_meta') IS NOT NULL;

-- name: tables
{one_creates}
{short_wait}
CREATE TABLE IF NOT EXISTS book_orders (
  number {numbered}, account TEXT NOT NULL, task_id TEXT NOT NULL, run TEXT, key TEXT, status TEXT, terminal INTEGER NOT NULL DEFAULT 0,
  seen_at {big} NOT NULL, moved_at {big} NOT NULL DEFAULT 0, changed_at {big}, updated_at {big}, server_time {big}, due_at {big}, tracking_id TEXT, invoice_number TEXT,
  group_tag TEXT, vessel TEXT, imo {big}, berth TEXT, planned {big}, currency TEXT, body {bytes} NOT NULL, UNIQUE (task_id, account));
CREATE INDEX IF NOT EXISTS book_orders_open ON book_orders (number) WHERE terminal = 0;
CREATE INDEX IF NOT EXISTS book_orders_of_run ON book_orders (run, number, status) WHERE run IS NOT NULL;
CREATE INDEX IF NOT EXISTS book_orders_moved ON book_orders (moved_at) WHERE moved_at > 0;
CREATE INDEX IF NOT EXISTS book_orders_to_read ON book_orders (seen_at) WHERE terminal = 0;
CREATE INDEX IF NOT EXISTS book_orders_of_tracking_id ON book_orders (tracking_id) WHERE tracking_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS book_orders_of_invoice ON book_orders (invoice_number) WHERE invoice_number IS NOT NULL;
CREATE INDEX IF NOT EXISTS book_orders_of_key ON book_orders (key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS book_orders_by_day ON book_orders (due_at);
CREATE TABLE IF NOT EXISTS book_steps (
  order_number {big} NOT NULL, place INTEGER NOT NULL, status TEXT NOT NULL, at {big}, entry {bytes}, source TEXT NOT NULL,
  seen_at {big} NOT NULL, number {big} NOT NULL, previous TEXT, late INTEGER NOT NULL, PRIMARY KEY (order_number, place)){by_key};
CREATE INDEX IF NOT EXISTS book_steps_by_number ON book_steps (number);
CREATE TABLE IF NOT EXISTS book_changes (
  number {numbered}, order_number {big} NOT NULL, place INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  again_at {big} NOT NULL DEFAULT 0, held_until {big} NOT NULL DEFAULT 0, holder TEXT, failing_since {big}, dead_at {big}, why TEXT);
CREATE INDEX IF NOT EXISTS book_changes_of_order ON book_changes (order_number, number);
CREATE INDEX IF NOT EXISTS book_changes_due ON book_changes (again_at, number) WHERE dead_at IS NULL;
CREATE TABLE IF NOT EXISTS book_absent (account TEXT NOT NULL, task_id TEXT NOT NULL, at {big} NOT NULL, PRIMARY KEY (account, task_id));
CREATE INDEX IF NOT EXISTS book_absent_by_time ON book_absent (at);
CREATE TABLE IF NOT EXISTS book_readers (name TEXT NOT NULL PRIMARY KEY, until {big} NOT NULL);
CREATE TABLE IF NOT EXISTS book_runs (run TEXT NOT NULL PRIMARY KEY, taken_in {big} NOT NULL);
CREATE TABLE IF NOT EXISTS book_meta (name TEXT NOT NULL PRIMARY KEY, value {big} NOT NULL);
INSERT INTO book_meta (name, value) VALUES ('version', 1) ON CONFLICT (name) DO NOTHING;

-- word: order
number, account, task_id, run, key, status, seen_at, changed_at, due_at, planned, currency, body
-- name: version
SELECT value FROM book_meta WHERE name = 'version';

-- --- what a read shows ------------------------------------------------------------------------------------------------

-- name: begin_order
INSERT INTO book_orders (account, task_id, seen_at, body) VALUES (:account, :task_id, :at, :body) ON CONFLICT (account, task_id) DO NOTHING;
-- name: lock_order
SELECT number, seen_at, updated_at, server_time, body, status, changed_at, due_at, planned, currency, tracking_id, invoice_number,
  group_tag, vessel, imo, berth FROM book_orders
WHERE account = :account AND task_id = :task_id {for_update};
-- name: steps
SELECT order_number, place, status, at, entry, late, seen_at FROM book_steps WHERE order_number {among:orders} ORDER BY order_number, place;
-- name: add_steps
INSERT INTO book_steps (order_number, place, status, at, entry, source, seen_at, number, previous, late) VALUES {rows};
-- name: date_step
UPDATE book_steps SET at = :at, entry = :entry WHERE order_number = :order AND place = :place;
-- name: add_change
INSERT INTO book_changes (order_number, place, again_at) VALUES (:order, :place,
  coalesce((SELECT max(again_at) FROM book_changes WHERE order_number = :order), 0)) RETURNING number;
-- name: set_order
UPDATE book_orders SET status = :status, terminal = :terminal, seen_at = :seen_at, moved_at = coalesce(CAST(:moved_at AS {big}), moved_at),
  changed_at = :changed_at, updated_at = :updated_at, server_time = :server_time, due_at = :due_at, tracking_id = :tracking_id,
  invoice_number = :invoice_number, group_tag = :group_tag, vessel = :vessel, imo = :imo, berth = :berth, planned = :planned,
  currency = :currency, body = :body WHERE number = :number;
-- Most reads show nothing new: the indexes are left alone.
-- name: reread
UPDATE book_orders SET seen_at = :seen_at, updated_at = :updated_at, server_time = :server_time, body = :body WHERE number = :number;
-- name: seen
UPDATE book_orders SET seen_at = :at WHERE account = :account AND task_id = :task_id AND seen_at < :at;
-- name: absent
INSERT INTO book_absent (account, task_id, at) VALUES (:account, :task_id, :at) ON CONFLICT (account, task_id) DO UPDATE SET at = excluded.at;
-- name: present
DELETE FROM book_absent WHERE account = :account AND task_id = :task_id;
-- name: forget_absent
DELETE FROM book_absent WHERE at < (SELECT min(at) FROM (SELECT at FROM book_absent ORDER BY at DESC LIMIT :most) AS newest);
-- name: known
SELECT 1 FROM book_orders WHERE account = :account AND task_id = :task_id
UNION ALL SELECT 0 FROM book_absent WHERE account = :account AND task_id = :task_id AND at >= :since;
-- name: strangers
SELECT task_id FROM book_orders WHERE account = :account AND run IS NULL AND (
  tracking_id {among:tracking_ids} OR invoice_number {among:invoice_numbers}
  OR (tracking_id IS NULL AND invoice_number IS NULL AND group_tag {among:group_tags})) ORDER BY number;
-- name: due
SELECT account, task_id, seen_at FROM book_orders WHERE terminal = 0 AND seen_at <= :before AND coalesce(status, '') {among:statuses}
  AND (:no_accounts = 1 OR account {among:accounts}) AND (:no_run = 1 OR run = :run) ORDER BY seen_at LIMIT :most;
-- name: due_of_others
SELECT account, task_id, seen_at FROM book_orders WHERE terminal = 0 AND seen_at <= :before AND NOT coalesce(status, '') {among:statuses}
  AND (:no_accounts = 1 OR account {among:accounts}) AND (:no_run = 1 OR run = :run) ORDER BY seen_at LIMIT :most;

-- --- changes that are to be handed on ---------------------------------------------------------------------------------

-- name: keep_held
UPDATE book_changes SET held_until = :until WHERE holder = :holder AND number {among:numbers};
-- word: is_head
held_until <= :now
  AND (:no_accounts = 1 OR (SELECT account FROM book_orders WHERE number = head.order_number) {among:accounts}) AND NOT EXISTS (
  SELECT 1 FROM book_changes AS other WHERE other.order_number = head.order_number AND (
    other.number < head.number OR other.number > head.number AND other.held_until > :now))
-- name: heads
SELECT number FROM book_changes AS head WHERE dead_at IS NULL AND again_at <= :now AND {is_head} ORDER BY again_at, number LIMIT :most;
-- name: newest_heads
SELECT number FROM book_changes AS head WHERE dead_at IS NULL AND again_at = 0 AND {is_head} ORDER BY number DESC LIMIT :most;
-- word: of_accounts
(:no_accounts = 1 OR (SELECT account FROM book_orders WHERE number = book_changes.order_number) {among:accounts})
-- What a wrong clock has put off.
-- name: come_early
UPDATE book_changes SET again_at = 0 WHERE dead_at IS NULL AND again_at > :far AND again_at < :never AND {of_accounts};
-- What a killed process held by a wrong clock; one that is alive renews it.
-- name: hold_briefly
UPDATE book_changes SET held_until = :until WHERE held_until > :far AND {of_accounts};
-- name: hold
UPDATE book_changes SET held_until = :until, holder = :holder WHERE number = :number AND held_until <= :now AND dead_at IS NULL
RETURNING number;
-- name: changes
SELECT c.number, o.account, o.task_id, s.status, s.at, s.entry, s.source, s.seen_at, s.previous, s.late, c.attempts, c.failing_since, c.why, o.body
FROM book_changes AS c JOIN book_orders AS o ON o.number = c.order_number
JOIN book_steps AS s ON s.order_number = c.order_number AND s.place = c.place WHERE c.number {among:numbers} ORDER BY c.number;
-- name: parked_changes
SELECT number FROM book_changes WHERE dead_at IS NOT NULL ORDER BY number LIMIT :most;
-- Keep the change if an earlier one of its task waits: it was in hand when `resend_from` put that one back.
-- name: acknowledge
DELETE FROM book_changes AS done WHERE number = :number AND holder = :holder AND NOT EXISTS (
  SELECT 1 FROM book_changes AS earlier WHERE earlier.order_number = done.order_number AND earlier.number < done.number
    AND earlier.dead_at IS NULL);
-- name: put_back
UPDATE book_changes SET again_at = :again_at, held_until = 0, holder = NULL WHERE number = :number AND coalesce(holder, :holder) = :holder;
-- name: failed
UPDATE book_changes SET attempts = attempts + 1, again_at = :again_at, held_until = 0, holder = NULL, why = :why,
  failing_since = coalesce(failing_since, :now) WHERE number = :number AND coalesce(holder, :holder) = :holder;
-- What waits behind it is not looked at until then: there may be a million.
-- name: put_off
UPDATE book_changes SET again_at = :again_at WHERE number > :number AND again_at < :again_at
  AND order_number = (SELECT order_number FROM book_changes WHERE number = :number);
-- name: park
UPDATE book_changes SET attempts = attempts + 1, dead_at = :now, held_until = 0, holder = NULL, why = :why
  WHERE number = :number AND holder = :holder;
-- name: come_again
UPDATE book_changes SET again_at = 0 WHERE again_at = :never AND order_number IN (
  SELECT order_number FROM book_changes WHERE (:all = 1 OR number = :number) AND dead_at IS NOT NULL);
-- name: resend
UPDATE book_changes SET dead_at = NULL, attempts = 0, again_at = 0, failing_since = NULL
  WHERE (:all = 1 OR number = :number) AND dead_at IS NOT NULL;
-- name: skip
DELETE FROM book_changes WHERE number = :number AND dead_at IS NOT NULL;
-- name: lock_changes@sqlite
SELECT 1;
-- name: lock_changes@postgresql
{short_wait}
LOCK TABLE book_changes IN SHARE ROW EXCLUSIVE MODE;
-- name: resend_from
INSERT INTO book_changes (number, order_number, place) SELECT number, order_number, place FROM book_steps WHERE number >= :number
ON CONFLICT (number) DO UPDATE SET dead_at = NULL, attempts = 0, again_at = 0, failing_since = NULL, holder = NULL;

-- --- pushed orders ----------------------------------------------------------------------------------------------------

-- name: taken_in
SELECT run, taken_in FROM book_runs;
-- name: note_run
INSERT INTO book_runs (run, taken_in) VALUES (:run, :at) ON CONFLICT (run) DO UPDATE SET taken_in = excluded.taken_in;
-- name: of_run
SELECT task_id FROM book_orders WHERE task_id {among:ids} AND account = :account AND run = :run;
-- name: all_present
DELETE FROM book_absent WHERE account = :account AND task_id {among:ids};
-- name: take_in
INSERT INTO book_orders AS known (account, task_id, run, key, status, terminal, seen_at, changed_at, due_at, tracking_id, invoice_number,
  group_tag, vessel, imo, berth, planned, currency, body) VALUES {rows} ON CONFLICT (account, task_id) DO UPDATE SET
  run = excluded.run, key = excluded.key, planned = coalesce(excluded.planned, known.planned);
-- --- doubles ----------------------------------------------------------------------------------------------------------

-- By groups, not by pairs: thousands of orders may have one invoice number, and that is no double.
-- name: doubled_tracking_ids
SELECT tracking_id FROM book_orders WHERE tracking_id IN (SELECT tracking_id FROM book_orders WHERE number > :after)
  AND status {among:living} GROUP BY tracking_id HAVING count(*) > 1
  AND max(CASE WHEN number > :after AND (terminal = 0 OR (moved_at > 0 AND moved_at >= :since)) THEN 1 ELSE 0 END) = 1 LIMIT :most;
-- name: doubled_invoice_numbers
SELECT invoice_number FROM book_orders WHERE invoice_number IN (SELECT invoice_number FROM book_orders WHERE number > :after)
  AND status {among:living} GROUP BY invoice_number HAVING count(*) > 1 AND count(tracking_id) < count(*)
  AND max(CASE WHEN number > :after AND (terminal = 0 OR (moved_at > 0 AND moved_at >= :since)) THEN 1 ELSE 0 END) = 1 LIMIT :most;
-- name: living_of_names
SELECT {order} FROM book_orders
WHERE (tracking_id {among:tracking_ids} OR invoice_number {among:invoice_numbers} AND (:all_invoices = 1 OR tracking_id IS NULL)) AND status {among:living}
ORDER BY CASE WHEN tracking_id IS NULL THEN 0 ELSE 1 END, number LIMIT :most;
-- name: newest
SELECT coalesce(max(number), 0) FROM book_orders;

-- --- looking ----------------------------------------------------------------------------------------------------------

-- word: filtered
  AND (:no_status = 1 OR status {among:statuses})
  AND (CAST(:vessel AS TEXT) IS NULL OR vessel LIKE :vessel ESCAPE '!' OR imo = :imo)
  AND (CAST(:berth AS TEXT) IS NULL OR berth = :berth) AND (CAST(:tag AS TEXT) IS NULL OR group_tag = :tag)
  AND (CAST(:account AS TEXT) IS NULL OR account = :account) AND (CAST(:run AS TEXT) IS NULL OR run = :run)
  AND (CAST(:environment AS TEXT) IS NULL OR account = :environment OR account LIKE :of_environment ESCAPE '!')
  AND (:open = 0 OR terminal = 0) AND (:no_days = 1 OR (due_at >= :since AND due_at < :until))
  AND moved_at >= :moved_since ORDER BY number LIMIT :most

-- One statement for each way to begin, by an index of its own; all else is looked at row by row.
-- name: orders
SELECT {order} FROM book_orders WHERE number > :after {filtered};
-- name: orders_of_run
SELECT {order} FROM book_orders WHERE number > :after AND run = :run {filtered};
-- name: orders_by_day
SELECT {order} FROM book_orders WHERE number > :after AND due_at >= :since AND due_at < :until {filtered};
-- name: orders_open
SELECT {order} FROM book_orders WHERE number > :after AND terminal = 0 {filtered};
-- name: orders_moved
SELECT {order} FROM book_orders WHERE number > :after AND moved_at > 0 {filtered};
-- name: orders_named
SELECT {order} FROM book_orders WHERE number > :after AND (task_id = :name OR tracking_id = :name OR key = :name) {filtered};
-- name: moved
SELECT {order}, moved_at FROM book_orders
WHERE moved_at > 0 AND moved_at >= :since AND run = :run ORDER BY moved_at, number LIMIT :most;
-- name: say_reading
INSERT INTO book_readers (name, until) VALUES (:name, :until) ON CONFLICT (name) DO UPDATE SET until = excluded.until;
-- name: forget_readers
DELETE FROM book_readers WHERE until <= :now;
-- name: readers
SELECT count(*) FROM book_readers WHERE until > :now AND name = :name;
-- name: counts
SELECT coalesce(status, ''), count(*) FROM book_orders GROUP BY status;
-- name: counts_of_run
SELECT coalesce(status, ''), count(*) FROM book_orders WHERE run = :run GROUP BY status;
-- name: stands
SELECT task_id, status FROM book_orders WHERE account = :account AND task_id {among:ids};
-- Between its statements nothing may be sent again, or be read: what came then would be half an order.
-- name: lock_book@sqlite
SELECT 1;
-- name: lock_book@postgresql
{short_wait}
LOCK TABLE book_orders, book_steps, book_changes IN SHARE ROW EXCLUSIVE MODE;
-- name: old_orders
SELECT number FROM book_orders AS o WHERE terminal = 1 AND seen_at < :before AND (:no_accounts = 1 OR account {among:accounts})
  AND (:only_handed_on = 0 OR NOT EXISTS (SELECT 1 FROM book_changes AS c WHERE c.order_number = o.number)) LIMIT :most;
-- name: forget_changes
DELETE FROM book_changes WHERE order_number {among:orders};
-- name: forget_steps
DELETE FROM book_steps WHERE order_number {among:orders};
-- name: forget_orders
DELETE FROM book_orders WHERE number {among:orders};
