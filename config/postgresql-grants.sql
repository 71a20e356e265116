-- Who may do what in an audit database on PostgreSQL. Run it once, in that database, as
-- the owner of its tables, after the first start has made them (docs/read-only-sql.md):
--
--     psql -d kagikura_audit -f postgresql-grants.sql
--
-- kagikura_recorder  adds records; it can neither change nor remove one, nor read them
-- kagikura_reader    reads all; for `kagikura audit search` and for auditors with psql
--
-- Retention and upgrades of the schema need the owner. Give the roles to logins of your
-- own (GRANT kagikura_reader TO auditor) or let them log in themselves.

DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'kagikura_recorder') THEN
        CREATE ROLE kagikura_recorder LOGIN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'kagikura_reader') THEN
        CREATE ROLE kagikura_reader LOGIN;
    END IF;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM kagikura_recorder, kagikura_reader;

GRANT USAGE ON SCHEMA public TO kagikura_recorder, kagikura_reader;

-- What it looks at to add nothing twice, and what it adds.
GRANT INSERT, SELECT (stream, seq) ON records TO kagikura_recorder;
GRANT USAGE ON SEQUENCE records_row_seq TO kagikura_recorder;
GRANT INSERT, SELECT ON paths TO kagikura_recorder;
GRANT SELECT ON upkeep, alembic_version_audit TO kagikura_recorder;
-- How far it is: a note to itself, which no proof rests on.
GRANT INSERT, SELECT, UPDATE ON streams TO kagikura_recorder;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO kagikura_reader;
