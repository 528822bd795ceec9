-- name: sign
SELECT holder, beat FROM {leases} WHERE name = :name;

-- name: take
INSERT INTO {leases} AS held (name, holder, beat) VALUES (:name, :me, 0)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, beat = 0
    WHERE held.holder = :holder AND held.beat = :beat;

-- name: beat
UPDATE {leases} SET beat = beat + 1 WHERE name = :name AND holder = :me;

-- name: give_back
DELETE FROM {leases} WHERE name = :name AND holder = :me;
