DROP TABLE hilcat_scopes;
