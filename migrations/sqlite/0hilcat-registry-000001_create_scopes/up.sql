-- The registry of scopes in this database: the table of each scope, the fingerprint of its schema,
-- and the schema as TOML.
CREATE TABLE hilcat_scopes (
  scope TEXT NOT NULL,
  table_name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  definition TEXT NOT NULL,
  PRIMARY KEY (scope)
) WITHOUT ROWID;
