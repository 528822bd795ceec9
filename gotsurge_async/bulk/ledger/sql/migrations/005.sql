-- Version 5 of version 4: until when a request that was sent and not answered may still act.

-- name: effects
ALTER TABLE chunks ADD COLUMN open_until {big};
