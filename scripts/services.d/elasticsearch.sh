# shellcheck shell=bash
# Elasticsearch, from the zip that Elastic publishes for integration tests:
# the real server with few modules. It has no `GET /`.

ELASTICSEARCH8_VERSION=8.19.0
ELASTICSEARCH9_VERSION=9.2.0

elasticsearch_version() {
    case $1 in
        elasticsearch9) echo "$ELASTICSEARCH9_VERSION" ;;
        *) echo "$ELASTICSEARCH8_VERSION" ;;
    esac
}

# The minimum version of Java.
elasticsearch_java() {
    case $1 in
        elasticsearch9) echo 21 ;;
        *) echo 17 ;;
    esac
}

elasticsearch_needs() {
    echo 'curl curl'
    [[ $1 == elasticsearch9 ]] || echo 'java:17 openjdk-17-jre-headless'
    [[ ! -d $(elasticsearch_home "$1") ]] || return 0
    printf '%s\n' 'mvn maven' 'unzip unzip'
}

elasticsearch_lacks() {
    [[ $1 == elasticsearch9 && -z $(java_home 21) ]] || return 0
    echo "it needs Java 21 or newer, which is not in JAVA_HOME or /usr/lib/jvm"
}

elasticsearch_home() { echo "$CACHE/elasticsearch-$(elasticsearch_version "$1")"; }

elasticsearch_unpack() {
    local version
    version=$(elasticsearch_version "$1")
    fetch "elasticsearch-$version" \
        "org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip" \
        elasticsearch_extract
}

elasticsearch_extract() {
    local work=$2.zip
    unzip -q "$1" -d "$work"
    mv "$work"/*/* "$2"
    rm -rf "$work"
}

elasticsearch_ports() { printf '%s\n' http transport; }

elasticsearch_parts() { echo server; }

# Each server has its own configuration folder, since it writes there; the
# unpacked zip is shared and read-only.
elasticsearch_prepare() {
    local engine=$1 folder home environment
    folder=$(folder_of "$engine")
    home=$(elasticsearch_home "$engine")
    make_private_folder "$folder/config" "$folder/config/jvm.options.d" "$folder/tmp"
    # The log of the garbage collector would go into the shared folder.
    grep -v 'Xlog:gc\|HeapDumpPath\|ErrorFile' "$home/config/jvm.options" |
        write_file "$folder/config/jvm.options"
    give_file "$home/config/log4j2.properties" "$folder/config/log4j2.properties"
    elasticsearch_configuration "$engine" | write_file "$folder/config/elasticsearch.yml"
    with_tls "$engine" || return 0
    give_file "$TLS/server.crt" "$folder/config/server.crt"
    give_file "$TLS/server.key" "$folder/config/server.key"
    mapfile -t environment < <(elasticsearch_environment "$engine")
    # The password of the user elastic.
    printf '%s' "$PASSWORD" | step "$engine" as_server env "${environment[@]}" \
        "$home/bin/elasticsearch-keystore" add -x -f bootstrap.password
}

elasticsearch_configuration() {
    local folder
    folder=$(folder_of "$1")
    cat <<END
cluster.name: hilcat-test
node.name: n1
path.data: $folder/data
path.logs: $folder/logs
network.host: 127.0.0.1
http.port: $(port_of "$1" http)
transport.port: $(port_of "$1" transport)
discovery.type: single-node
# Otherwise a disk that is nearly full would make the indices read-only.
cluster.routing.allocation.disk.threshold_enabled: false
END
    if ! with_tls "$1"; then
        echo 'xpack.security.enabled: false'
        return
    fi
    cat <<END
xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.key: server.key
xpack.security.http.ssl.certificate: server.crt
END
}

# Lines NAME=VALUE.
elasticsearch_environment() {
    echo "ES_JAVA_HOME=$(java_home "$(elasticsearch_java "$1")")"
    echo "ES_PATH_CONF=$(folder_of "$1")/config"
    echo "ES_TMPDIR=$(folder_of "$1")/tmp"
    # The programs that prepare the start have their own setting for temporary
    # files.
    echo "CLI_JAVA_OPTS=-Djava.io.tmpdir=$(folder_of "$1")/tmp"
}

elasticsearch_command() {
    local environment
    mapfile -t environment < <(elasticsearch_environment "$1")
    # Only the fast compiler: the other one nearly doubles the time to start, and
    # a server of the tests does not run long enough to benefit from it.
    environment+=('ES_JAVA_OPTS=-Xms512m -Xmx512m -XX:TieredStopAtLevel=1')
    # shellcheck disable=SC2034 # read by the caller
    COMMAND=(env "${environment[@]}"
        "$(elasticsearch_home "$1")/bin/elasticsearch")
}

elasticsearch_answers() {
    local path='_cluster/health?wait_for_status=yellow&timeout=1s'
    local ask=(curl -fsS -o /dev/null --noproxy '*' --max-time 3) address
    address=127.0.0.1:$(port_of "$1" http)
    is_listening "${address#*:}" || return 1
    if with_tls "$1"; then
        "${ask[@]}" --cacert "$TLS/ca.crt" -u "elastic:$PASSWORD" "https://$address/$path"
    else
        "${ask[@]}" "http://$address/$path"
    fi 2>/dev/null
}

elasticsearch_finish() { :; }

elasticsearch_uri() {
    local address
    address=127.0.0.1:$(port_of "$1" http)
    if with_tls "$1"; then
        echo "es+https://elastic:$PASSWORD_IN_URI@$address"
    else
        echo "es://$address"
    fi
}

# A killed Java process leaves a socket in /tmp, whatever its folder for
# temporary files is.
elasticsearch_sweep() {
    local file owner=$SERVICE_USER
    is_root || owner=$(id -un)
    for file in /tmp/.java_pid*; do
        [[ -S $file && ! -d /proc/${file#/tmp/.java_pid} ]] || continue
        [[ $(stat -c %U "$file") != "$owner" ]] || rm -f "$file"
    done
}
