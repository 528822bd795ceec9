-- What readers may see. After each gotsurge db upgrade, as its user:
--
--   psql postgresql://gotsurge_migrator@db.example.com/ledger -f examples/fleet/readers.sql
GRANT SELECT ON ALL TABLES IN SCHEMA public TO gotsurge_reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO gotsurge_reader;
-- Tokens are encrypted; readers need not see them even so. Leave this line out if the tokens are elsewhere.
REVOKE ALL ON gotsurge_tokens FROM gotsurge_reader;
