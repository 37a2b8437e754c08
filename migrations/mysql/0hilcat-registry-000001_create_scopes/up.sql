-- The scopes that hilcat keeps in this database: the table of each, the fingerprint of the schema
-- that the table has, and that schema as TOML. An interrupted run may have made it already.
CREATE TABLE IF NOT EXISTS hilcat_scopes (
  scope VARCHAR(640) NOT NULL,
  table_name LONGTEXT NOT NULL,
  fingerprint LONGTEXT NOT NULL,
  definition LONGTEXT NOT NULL,
  hilcat_whole_1 LONGTEXT,
  PRIMARY KEY (scope)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */;
