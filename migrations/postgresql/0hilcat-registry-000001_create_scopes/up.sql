-- The scopes that hilcat keeps in this schema: the table of each, the fingerprint of the schema
-- that the table has, and that schema as TOML.
CREATE TABLE hilcat_scopes (
  scope text COLLATE "C" NOT NULL,
  table_name text NOT NULL,
  fingerprint text NOT NULL,
  definition text NOT NULL,
  PRIMARY KEY (scope)
);
