"""A program that uses the Python package, with one command on each line of its input.

The first line says which cache is opened, every other one is a call; each answer is a line, too.
Tuples are written as {"tuple": [...]}, to distinguish them from lists.
"""

import json
import sqlite3
import sys
import urllib.parse

from hilcat.db.relational import RelationalDbScopeConfig
from hilcat.db.relational.config import SingleTableConfig


def connect(uri):
    """A connection that sees later commits: neither the package nor the driver ends a read transaction."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme == "sqlite":
        return sqlite3.connect(uri.removeprefix("sqlite:///"))
    if parts.scheme.startswith("postgres"):
        import psycopg

        return psycopg.connect(uri, autocommit=True)
    import pymysql

    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=urllib.parse.unquote(parts.username),
        password=urllib.parse.unquote(parts.password),
        database=parts.path.lstrip("/"),
        charset="utf8mb4",
        autocommit=True,
    )


def classes(uri):
    """Returns the classes of caches with a table for each scope, and with one table for all."""
    scheme = uri.split(":")[0]
    if scheme == "sqlite":
        from hilcat.db import sqlite as module

        return module.SqliteCache, module.SqliteSingleTableCache
    if scheme.startswith("postgres"):
        from hilcat.db import postgresql as module

        return module.PostgresqlCache, module.PostgresqlSingleTableCache
    from hilcat.db import mysql as module

    return module.MysqlCache, module.MysqlSingleTableCache


def open_cache(uri, scopes=(), single=None):
    of_tables, of_one_table = classes(uri)
    if single is not None:
        return of_one_table(connection=connect(uri), config=SingleTableConfig(**single))
    configs = [RelationalDbScopeConfig(**scope) for scope in scopes]
    return of_tables(connection=connect(uri), scopes=configs)


def given(value):
    """Converts keys and scopes of several values to tuples."""
    return tuple(value) if isinstance(value, list) else value


def shown(value):
    if isinstance(value, tuple):
        return {"tuple": [shown(item) for item in value]}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    return value


def call(cache, operation, scope=None, key=None, value=None):
    scope, key = given(scope), given(key)
    if operation == "set":
        return cache.set(key, value, scope=scope)
    if operation == "fetch":
        return cache.fetch(key, scope=scope)
    if operation == "exists":
        return cache.exists(key, scope=scope)
    if operation == "pop":
        return cache.pop(key, scope=scope)
    if operation == "keys":
        return list(cache.keys(scope))
    if operation == "scopes":
        return list(cache.scopes())
    if operation == "run":
        cursor = cache.conn.cursor()
        cursor.execute(scope)
        cache.conn.commit()
        return None
    raise ValueError(f"unknown operation {operation}")


def main():
    cache = None
    for line in sys.stdin:
        try:
            command = json.loads(line)
            if cache is None:
                cache, answer = open_cache(**command), True
            else:
                answer = shown(call(cache, *command))
        except Exception as error:  # the tests check which commands fail
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
