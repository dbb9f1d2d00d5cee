-- Makes berth_service, the role that services use: it reads and writes rows and
-- cannot change the schema. Run it as the owner of the schema, who runs
-- `berth migrate`; run it again to change the password:
--
--   SERVICE_PASSWORD=… psql -f roles.sql postgres://owner@db.example.com/berth
--
-- Needs psql 15 or newer.
\set ON_ERROR_STOP on
\getenv password SERVICE_PASSWORD
SELECT 'CREATE ROLE berth_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT'
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'berth_service') \gexec
ALTER ROLE berth_service PASSWORD :'password';

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO berth_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO berth_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO berth_service;
-- What the next migrations make, too.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO berth_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO berth_service;
