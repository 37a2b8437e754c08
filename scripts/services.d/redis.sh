# shellcheck shell=bash
# Redis: a single server; a cluster of three masters with a replica each; a
# master with two replicas that three sentinels watch; and with TLS and a login:
# a server, a cluster of one node and a sentinel that watches the server.

REDIS_PRIMARY=mymaster

# In Debian, redis-tools contains the program of the server under another name;
# the package redis-server would add a service that starts by itself.
redis_needs() { echo 'redis-cli redis-tools'; }

redis_lacks() { :; }

redis_unpack() {
    local program
    program=$(command -v redis-server || command -v redis-check-rdb)
    mkdir -p "$CACHE/redis"
    # The behaviour of the program depends on its name.
    ln -sfn "$program" "$CACHE/redis/redis-server"
}

redis_parts() {
    case $1 in
        redis) echo server ;;
        redis-cluster) printf '%s\n' node1 node2 node3 node4 node5 node6 ;;
        redis-sentinel)
            printf '%s\n' master replica1 replica2 sentinel1 sentinel2 sentinel3
            ;;
        redis-secured) printf '%s\n' master node1 sentinel1 ;;
    esac
}

redis_ports() {
    redis_parts "$1"
    [[ $1 != redis-cluster ]] || printf '%s\n' bus1 bus2 bus3 bus4 bus5 bus6
    [[ $1 != redis-secured ]] || echo bus1
}

redis_prepare() {
    local engine=$1 part folder
    folder=$(folder_of "$engine")
    for part in $(redis_parts "$engine"); do
        make_private_folder "$folder/$part"
        redis_configuration "$engine" "$part" | write_file "$folder/$part/redis.conf"
        ! with_tls "$engine" || redis_give_certificates "$folder/$part"
    done
}

redis_give_certificates() {
    local file
    for file in ca.crt server.crt server.key; do give_file "$TLS/$file" "$1/$file"; done
}

# The port, with TLS and a login if the engine has them.
redis_port_configuration() {
    local engine=$1 part=$2 folder port
    port=$(port_of "$engine" "$part")
    if ! with_tls "$engine"; then
        echo "port $port"
        return
    fi
    folder=$(folder_of "$engine")/$part
    cat <<END
port 0
tls-port $port
tls-cert-file $folder/server.crt
tls-key-file $folder/server.key
tls-ca-cert-file $folder/ca.crt
tls-auth-clients no
tls-replication yes
user default off
user $LOGIN on ">$PASSWORD" ~* &* +@all
END
}

redis_configuration() {
    local engine=$1 part=$2 quorum=2
    cat <<END
bind 127.0.0.1
$(redis_port_configuration "$engine" "$part")
dir $(folder_of "$engine")/$part
daemonize no
END
    if [[ $part == sentinel* ]]; then
        ! with_tls "$engine" || quorum=1
        cat <<END
sentinel monitor $REDIS_PRIMARY 127.0.0.1 $(port_of "$engine" master) $quorum
sentinel down-after-milliseconds $REDIS_PRIMARY 1500
sentinel failover-timeout $REDIS_PRIMARY 5000
END
        ! with_tls "$engine" || cat <<END
sentinel auth-user $REDIS_PRIMARY $LOGIN
sentinel auth-pass $REDIS_PRIMARY $PASSWORD
END
        return
    fi
    # Only the append-only file: it is written before a reply is sent, so a
    # killed server loses no acknowledged write. By default, a master lets a
    # replica wait five seconds for other replicas.
    cat <<END
save ""
appendonly yes
repl-diskless-sync-delay 0
END
    case $part in
        replica*) echo "replicaof 127.0.0.1 $(port_of "$engine" master)" ;;
        node*)
            cat <<END
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 2000
cluster-port $(port_of "$engine" "bus${part#node}")
END
            ! with_tls "$engine" || echo 'tls-cluster yes'
            ;;
        server) ! redis_has_socket "$engine" || echo "unixsocket $(redis_socket "$engine")" ;;
    esac
}

# A socket's path has a limit of about 100 bytes.
redis_has_socket() { [[ $(redis_socket "$1" | wc -c) -lt 100 ]]; }

redis_socket() { echo "$(folder_of "$1")/redis.sock"; }

redis_command() {
    # shellcheck disable=SC2034 # read by the caller
    COMMAND=("$CACHE/redis/redis-server" "$(folder_of "$1")/$2/redis.conf")
    [[ $2 != sentinel* ]] || COMMAND+=(--sentinel)
}

# redis_ask ENGINE PART COMMAND...: does not wait for a server that hangs.
redis_ask() {
    local port secured=()
    port=$(port_of "$1" "$2")
    ! with_tls "$1" ||
        secured=(--tls --cacert "$TLS/ca.crt" --user "$LOGIN" --no-auth-warning --pass "$PASSWORD")
    shift 2
    timeout 2 redis-cli -h 127.0.0.1 -p "$port" "${secured[@]}" "$@" 2>/dev/null
}

redis_answers() {
    is_alive "$1" "$2" && [[ $(redis_ask "$1" "$2" ping) == PONG ]]
}

redis_finish() {
    case $1 in
        redis-cluster) redis_finish_cluster ;;
        redis-sentinel) redis_wait "$1" redis_sentinels_agree ;;
        redis-secured)
            redis_ask "$1" node1 cluster info | grep -q '^cluster_slots_assigned:16384' ||
                step "$1" redis_ask "$1" node1 cluster addslotsrange 0 16383
            redis_wait "$1" redis_secured_is_whole
            ;;
    esac
}

redis_finish_cluster() {
    local engine=redis-cluster part nodes=() made
    made=$(folder_of "$engine")/made
    if [[ ! -e $made ]]; then
        for part in $(redis_parts "$engine"); do
            nodes+=("127.0.0.1:$(port_of "$engine" "$part")")
        done
        step "$engine" redis-cli --cluster create "${nodes[@]}" \
            --cluster-replicas 1 --cluster-yes
        touch "$made"
    fi
    redis_wait "$engine" redis_cluster_is_whole
}

# Every node reports a healthy cluster, and every replica has its master.
redis_cluster_is_whole() {
    local part replicas=0 facts
    for part in $(redis_parts redis-cluster); do
        facts=$(redis_ask redis-cluster "$part" cluster info) || return 1
        grep -q '^cluster_state:ok' <<<"$facts" || return 1
        grep -q '^cluster_known_nodes:6' <<<"$facts" || return 1
        facts=$(redis_ask redis-cluster "$part" info replication) || return 1
        ! grep -q '^master_link_status:up' <<<"$facts" || replicas=$((replicas + 1))
    done
    ((replicas == 3))
}

# Every sentinel lists the two others and both replicas. There is one master, not
# two as for a moment after a failed one returns, and the others replicate it.
redis_sentinels_agree() {
    local number part facts masters=0 replicas=0
    for part in master replica1 replica2; do
        facts=$(redis_ask redis-sentinel "$part" info replication) || return 1
        ! grep -q '^role:master' <<<"$facts" || masters=$((masters + 1))
        ! grep -q '^master_link_status:up' <<<"$facts" || replicas=$((replicas + 1))
    done
    ((masters == 1 && replicas == 2)) || return 1
    for number in 1 2 3; do
        facts=$(redis_ask redis-sentinel "sentinel$number" info sentinel) || return 1
        grep -q "name=$REDIS_PRIMARY,status=ok,.*slaves=2,sentinels=3" <<<"$facts" || return 1
    done
}

redis_secured_is_whole() {
    redis_ask redis-secured node1 cluster info | grep -q '^cluster_state:ok' &&
        redis_ask redis-secured sentinel1 info sentinel | grep -q "name=$REDIS_PRIMARY,status=ok"
}

redis_wait() {
    local deadline=$((SECONDS + TIMEOUT))
    until "$2"; do
        ((SECONDS <= deadline)) || die "$1: its servers do not agree after $TIMEOUT s"
        sleep 0.1
    done
}

redis_uri() {
    case $1 in
        redis) echo "redis://127.0.0.1:$(port_of "$1" server)" ;;
        redis-cluster) echo "redis+cluster://$(redis_addresses "$1" node)" ;;
        redis-sentinel)
            echo "redis+sentinel://$(redis_addresses "$1" sentinel)/$REDIS_PRIMARY"
            ;;
        redis-secured) redis_secured_uri rediss master '' ;;
    esac
}

# redis_secured_uri SCHEME PART PATH [OPTIONS]
redis_secured_uri() {
    local address=127.0.0.1:$(port_of redis-secured "$2")
    echo "$1://$LOGIN:$PASSWORD_IN_URI@$address$3?sslrootcert=$TLS/ca.crt${4:-}"
}

# Other URIs of the same servers, in addition to HILCAT_TEST_<ENGINE>.
redis_more_uris() {
    local login
    login="&sentinel_user=$LOGIN&sentinel_password=$PASSWORD_IN_URI"
    case $1 in
        redis)
            ! redis_has_socket "$1" ||
                print_export HILCAT_TEST_REDIS_SOCKET "redis+unix://$(redis_socket "$1")"
            ;;
        redis-secured)
            print_export HILCAT_TEST_REDIS_SECURED_CLUSTER "$(redis_secured_uri rediss+cluster node1 '')"
            print_export HILCAT_TEST_REDIS_SECURED_SENTINEL \
                "$(redis_secured_uri rediss+sentinel sentinel1 "/$REDIS_PRIMARY" "$login")"
            ;;
    esac
}

redis_addresses() {
    local number list=()
    for number in 1 2 3; do list+=("127.0.0.1:$(port_of "$1" "$2$number")"); done
    (
        IFS=,
        echo "${list[*]}"
    )
}

redis_sweep() { :; }
