-- The scopes that hilcat keeps in this database: the table of each, the fingerprint of the schema
-- that the table has, and that schema as TOML.
CREATE TABLE hilcat_scopes (
  scope TEXT NOT NULL,
  table_name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  definition TEXT NOT NULL,
  PRIMARY KEY (scope)
) WITHOUT ROWID;
