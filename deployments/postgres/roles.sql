-- Makes the roles that services use: berth_token for token, berth_service for all
-- others. They read and write rows and cannot change the schema; the keys that sign
-- tokens are for berth_token, and berth_service reads their public halves only. Run
-- it as the owner of the schema, who runs `berth migrate`, after that; run it again
-- after an upgrade that brings tables, and to change the passwords:
--
--   SERVICE_PASSWORD=… TOKEN_PASSWORD=… psql -f roles.sql postgres://owner@db.example.com/berth
--
-- Without TOKEN_PASSWORD there is berth_service alone, which may write those keys:
-- for nodes that run all services in one process. Needs psql 15 or newer.
\set ON_ERROR_STOP on
\getenv password SERVICE_PASSWORD
\getenv token_password TOKEN_PASSWORD
BEGIN;
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

\if :{?token_password}
SELECT 'CREATE ROLE berth_token LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT'
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'berth_token') \gexec
ALTER ROLE berth_token PASSWORD :'token_password';
GRANT USAGE ON SCHEMA public TO berth_token;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO berth_token;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO berth_token;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO berth_token;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO berth_token;

REVOKE ALL ON token_keys, signing_keys FROM berth_service;
GRANT SELECT (id, algorithm, public, created_at, signs_from, retired_at) ON token_keys TO berth_service;
\endif
COMMIT;
