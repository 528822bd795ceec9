-- What shared_rate.py executes, in PostgreSQL only. Each statement is a transaction of its own, by the server's clock alone.
--
-- One row is what all processes share. `next_turn` is the end of the turns that were given so far; nobody has one before
-- `held_until`, and `halvings` counts how often the pace was halved, so that who looks twice knows by how much it fell.
-- Times are microseconds since 1970. The table is not logged: after a crash of the server it is empty, and begun anew.

-- name: tables
{one_creates}
CREATE UNLOGGED TABLE IF NOT EXISTS rates (
    name TEXT NOT NULL PRIMARY KEY,
    next_turn BIGINT NOT NULL DEFAULT 0,
    held_until BIGINT NOT NULL DEFAULT 0,
    halvings DOUBLE PRECISION NOT NULL DEFAULT 0,
    slowed_at BIGINT NOT NULL DEFAULT 0
);

-- name: there
SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'rates';

-- The turns of `span` microseconds begin where the last ones end, or now: what was not used is gone.
-- name: take
INSERT INTO rates AS kept (name, next_turn)
    VALUES (:name, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :span)
    ON CONFLICT (name) DO UPDATE SET next_turn = :span + greatest(
        kept.next_turn, kept.held_until, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    RETURNING next_turn - :span - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        held_until - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, halvings;

-- name: look
SELECT 0, held_until - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, halvings FROM rates WHERE name = :name;

-- Answers that come at the same time tell of the same pace: only the first of them counts.
-- name: slow
INSERT INTO rates AS kept (name, held_until, halvings, slowed_at)
    VALUES (:name, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :hold, :halvings,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT (name) DO UPDATE SET
        held_until = greatest(kept.held_until, excluded.held_until),
        halvings = kept.halvings + CASE WHEN kept.slowed_at + :cool_down <= excluded.slowed_at
            THEN excluded.halvings ELSE 0 END,
        slowed_at = CASE WHEN kept.slowed_at + :cool_down <= excluded.slowed_at AND excluded.halvings > 0
            THEN excluded.slowed_at ELSE kept.slowed_at END
    RETURNING 0, held_until - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, halvings;
