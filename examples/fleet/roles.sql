-- The roles of a ledger in PostgreSQL, and its database. Once, as a superuser:
--
--   psql -f examples/fleet/roles.sql
--
-- Give each role its password (\password gotsurge_worker) or its line in pg_hba.conf.
CREATE ROLE gotsurge_migrator LOGIN;  -- owns the tables: gotsurge db upgrade makes them
CREATE ROLE gotsurge_worker LOGIN;    -- pushes, workers, services, receivers
CREATE ROLE gotsurge_reader LOGIN;    -- looks: runs, status, results, workers, ledger export
CREATE DATABASE ledger OWNER gotsurge_migrator ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE ledger FROM PUBLIC;
GRANT CONNECT ON DATABASE ledger TO gotsurge_worker, gotsurge_reader;
\connect ledger
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO gotsurge_worker, gotsurge_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE gotsurge_migrator IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO gotsurge_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE gotsurge_migrator IN SCHEMA public GRANT SELECT, USAGE ON SEQUENCES TO gotsurge_worker;
