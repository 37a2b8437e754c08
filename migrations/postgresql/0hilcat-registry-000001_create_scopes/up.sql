-- The registry of scopes in this schema: the table of each scope, the fingerprint of its schema,
-- and the schema as TOML.
CREATE TABLE hilcat_scopes (
  scope text COLLATE "C" NOT NULL,
  table_name text NOT NULL,
  fingerprint text NOT NULL,
  definition text NOT NULL,
  PRIMARY KEY (scope)
);
