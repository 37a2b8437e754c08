-- The registry of scopes in this database: the table of each scope, the fingerprint of its schema,
-- and the schema as TOML. MySQL cannot roll back DDL: after an interrupted run, the table may
-- exist although the migration is not recorded.
CREATE TABLE IF NOT EXISTS hilcat_scopes (
  scope VARCHAR(640) NOT NULL,
  table_name LONGTEXT NOT NULL,
  fingerprint LONGTEXT NOT NULL,
  definition LONGTEXT NOT NULL,
  hilcat_whole_1 LONGTEXT,
  PRIMARY KEY (scope)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */;
