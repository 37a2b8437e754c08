# shellcheck shell=bash
# A Galera cluster of two nodes of Debian's MariaDB. The data of the second is a
# copy of the first's, under the same name and position of the cluster, so that
# it joins without a transfer of the state.

GALERA_PROVIDER=/usr/lib/galera/libgalera_smm.so

galera_needs() {
    mysql_needs mariadb
    echo "$GALERA_PROVIDER galera-4"
}

galera_lacks() { :; }

galera_unpack() { :; }

galera_parts() { printf '%s\n' node1 node2; }

# The ports of the clients, of the replication and of incremental transfers.
galera_ports() { printf '%s\n' node1 node2 group1 group2 transfer1 transfer2; }

galera_prepare() {
    local engine=$1 folder node
    folder=$(folder_of "$engine")
    { echo 'FLUSH PRIVILEGES;' && mysql_accounts; } | write_file "$folder/accounts.sql"
    for node in $(galera_parts); do
        make_private_folder "$folder/$node"
        galera_configuration "$engine" "$node" | write_file "$folder/$node/my.cnf"
    done
    step "$engine" as_server mariadb-install-db "--defaults-file=$folder/node1/my.cnf" \
        --wsrep-provider=none --wsrep-on=OFF --skip-test-db "--extra-file=$folder/accounts.sql" \
        --innodb-flush-method=nosync --innodb-doublewrite=OFF
    step "$engine" as_server cp -a "$folder/node1/data" "$folder/node2/data"
    galera_position 0 1 | write_file "$folder/node1/data/grastate.dat"
    galera_position 1 0 | write_file "$folder/node2/data/grastate.dat"
}

# galera_position EVENTS FIRST: the number of cluster events in the data, and whether
# the node may begin the cluster. The first event is the beginning of the cluster, the
# second is that the other node joins, which both nodes receive.
galera_position() {
    cat <<END
# GALERA saved state
version: 2.1
uuid:    5b2f0f2e-4c39-11f0-9d0a-02f1c0ffee01
seqno:   $1
safe_to_bootstrap: $2
END
}

galera_configuration() {
    local engine=$1 node=$2 number=${2#node} folder
    folder=$(folder_of "$engine")/$node
    cat <<END
[mysqld]
datadir = $folder/data
socket = $folder/mysql.sock
# In a shared folder, a starting server would remove the temporary tables of others.
tmpdir = $folder
pid-file = $folder/mysql.pid
bind-address = 127.0.0.1
port = $(port_of "$engine" "$node")
skip-name-resolve
max-connections = 100
innodb-buffer-pool-size = 32M
performance-schema = OFF
disable-log-bin
character-set-server = utf8mb4
default-time-zone = '+05:30'
binlog-format = ROW
innodb-autoinc-lock-mode = 2
innodb-flush-log-at-trx-commit = 0
wsrep-on = ON
wsrep-provider = $GALERA_PROVIDER
wsrep-cluster-name = hilcat-test
wsrep-cluster-address = gcomm://127.0.0.1:$(port_of "$engine" group1),127.0.0.1:$(port_of "$engine" group2)
wsrep-node-name = $node
wsrep-node-address = 127.0.0.1
wsrep-sst-method = skip
wsrep-provider-options = "gmcast.listen_addr=tcp://127.0.0.1:$(port_of "$engine" "group$number");ist.recv_addr=127.0.0.1:$(port_of "$engine" "transfer$number");gcache.size=16M"
END
}

# A node that is alone begins the cluster; the other joins it.
galera_command() {
    local other=node1
    [[ $2 != node1 ]] || other=node2
    # shellcheck disable=SC2034 # read by the caller
    COMMAND=(mariadbd "--defaults-file=$(folder_of "$1")/$2/my.cnf")
    is_alive "$1" "$other" || COMMAND+=(--wsrep-new-cluster)
}

galera_answers() {
    is_alive "$1" "$2" && [[ $(galera_ask "$1" "$2" "SHOW STATUS LIKE 'wsrep_local_state_comment'") == *Synced ]]
}

galera_ask() {
    timeout 2 mariadb --no-defaults -N -B -h 127.0.0.1 -P "$(port_of "$1" "$2")" \
        -u "$LOGIN" "-p$PASSWORD" -e "$3" 2>/dev/null
}

galera_finish() {
    [[ $(galera_ask "$1" node1 "SHOW STATUS LIKE 'wsrep_cluster_size'") == *2 ]] ||
        die "$1: its nodes do not see each other"
}

galera_uri() { galera_node_uri "$1" node1; }

galera_node_uri() {
    echo "mariadb://$LOGIN:$PASSWORD_IN_URI@127.0.0.1:$(port_of "$1" "$2")/$DATABASE"
}

# The second node, in addition to HILCAT_TEST_GALERA.
galera_more_uris() { print_export HILCAT_TEST_GALERA_SECOND "$(galera_node_uri "$1" node2)"; }

galera_sweep() { :; }
