-- Version 2 of version 1. What version 1 recorded for two orders is the first one's, if it is anybody's.

-- name: fences
ALTER TABLE runs ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN lost_drafts SMALLINT NOT NULL DEFAULT 0;
CREATE TABLE unused_drafts (task_id TEXT, run_id TEXT, key TEXT, noted_at BIGINT, cancelled_at BIGINT);
UPDATE orders SET task_id = NULL, state = 'in_doubt', error = 'its task is recorded for another order' WHERE id IN (
  SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY environment, task_id ORDER BY id) AS nth FROM orders
    WHERE live = 1 AND task_id IS NOT NULL) WHERE nth > 1);
