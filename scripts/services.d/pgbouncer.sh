# shellcheck shell=bash
# PgBouncer in its default configuration, in front of its own PostgreSQL. The
# pooler has one database for each of its modes, all of them the same database
# of the server. In transaction mode there are two sessions for all clients.

pgbouncer_needs() {
    echo '/usr/lib/postgresql/15/bin/postgres postgresql-15'
    echo 'pgbouncer pgbouncer'
}

pgbouncer_lacks() { :; }

pgbouncer_unpack() { :; }

pgbouncer_ports() { printf '%s\n' server pooler; }

# The pooler connects to the server at the first request.
pgbouncer_parts() { printf '%s\n' server pooler; }

pgbouncer_prepare() {
    local folder
    folder=$(folder_of "$1")
    postgresql_prepare "$1"
    printf '"%s" "%s"\n' "$LOGIN" "$PASSWORD" | write_file "$folder/users"
    pgbouncer_configuration "$1" | write_file "$folder/pgbouncer.ini"
}

pgbouncer_configuration() {
    local folder server
    folder=$(folder_of "$1")
    server="host=127.0.0.1 port=$(port_of "$1" server) dbname=$DATABASE"
    cat <<END
[databases]
session = $server pool_mode=session pool_size=200
transaction = $server pool_mode=transaction pool_size=2
statement = $server pool_mode=statement pool_size=2

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $(port_of "$1" pooler)
unix_socket_dir = $folder
auth_type = scram-sha-256
auth_file = $folder/users
max_client_conn = 1000
END
}

pgbouncer_command() {
    local folder
    folder=$(folder_of "$1")
    case $2 in
        server) postgresql_command "$1" ;;
        # shellcheck disable=SC2034 # read by the caller
        pooler) COMMAND=("$(command -v pgbouncer)" "$folder/pgbouncer.ini") ;;
    esac
}

pgbouncer_answers() {
    case $2 in
        server) postgresql_answers "$1" "$2" ;;
        pooler) is_listening "$(port_of "$1" pooler)" ;;
    esac
}

pgbouncer_finish() { :; }

pgbouncer_at() {
    echo "postgresql://$LOGIN:$PASSWORD_IN_URI@127.0.0.1:$(port_of "$1" "$2")/$3?sslmode=disable"
}

pgbouncer_uri() { pgbouncer_at "$1" pooler transaction; }

# The other modes, and the server behind the pooler.
pgbouncer_more_uris() {
    print_export HILCAT_TEST_PGBOUNCER_SESSION "$(pgbouncer_at "$1" pooler session)"
    print_export HILCAT_TEST_PGBOUNCER_STATEMENT "$(pgbouncer_at "$1" pooler statement)"
    print_export HILCAT_TEST_PGBOUNCER_SERVER "$(pgbouncer_at "$1" server "$DATABASE")"
}

pgbouncer_sweep() { postgresql_sweep "$1"; }
