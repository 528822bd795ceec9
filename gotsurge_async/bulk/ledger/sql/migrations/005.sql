-- Version 5 of version 4: until when a create or a broadcast, and a cancel, that was not answered may still act.

-- name: effects
ALTER TABLE chunks ADD COLUMN open_until {big};
ALTER TABLE notes ADD COLUMN cancel_until {big};
