#!/usr/bin/env bash
# The boards' mailboxes behind OpenSSH: an sshd of its own, which serves nothing but SFTP into one chroot per board.
#
#   mailbox.sh install --home NAS_HOME --user USER [--root DIR] [--port PORT] [--bind ADDRESS]
#   mailbox.sh add NAME 'ssh-ed25519 AAAA...'     a board that the service knows (nas board show NAME: public_key)
#   mailbox.sh remove NAME                        revoke its key, end its sessions, drop its mailbox
#   mailbox.sh run                                sshd in the foreground, with its limits (without systemd)
#
# --dry-run before the verb shows what would be done and does nothing. Every verb may be repeated. Needs root.
set -euo pipefail

ETC=${NAS_EDGE_SSH_ETC:-/etc/nas-edge-ssh}
GROUP=nas-edge
FILE_LIMIT_KIB=256 # a result or a heartbeat must fit
DRY=

say() { printf '%s\n' "$*"; }

fail() {
    printf 'mailbox.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# Run a command, or say that it would be run.
do_it() {
    if [ -n "$DRY" ]; then say "would run: $*"; else "$@"; fi
}

# Write stdin to FILE with MODE, unless it has this content already.
write_file() {
    local path=$1 mode=$2 content
    content=$(cat)
    if [ -f "$path" ] && [ "$content" = "$(cat "$path")" ]; then
        say "unchanged: $path"
    elif [ -n "$DRY" ]; then
        say "would write: $path"
    else
        install -m "$mode" /dev/null "$path.new"
        printf '%s\n' "$content" >"$path.new"
        mv -f "$path.new" "$path"
        say "wrote: $path"
    fi
}

# Make a folder with SERVICE_USER:GROUP and MODE, or mend one that has drifted.
make_folder() {
    local path=$1 owner=$2 mode=$3
    if [ "$(stat -c '%U:%G %a' "$path" 2>/dev/null)" = "$owner $mode" ]; then return; fi
    do_it mkdir -p "$path"
    do_it chown "$owner" "$path"
    do_it chmod "$mode" "$path"
}

settings() {
    [ -f "$ETC/settings" ] || fail "$ETC/settings is absent; run: mailbox.sh install --home NAS_HOME --user USER"
    # shellcheck source=/dev/null
    . "$ETC/settings"
}

# A chroot is safe only if nobody but root can change any folder on the way to it.
check_root() {
    local folder=$1
    while :; do
        if [ -e "$folder" ]; then
            [ "$(stat -c %u "$folder")" = 0 ] || fail "$folder belongs to $(stat -c %U "$folder") but must be root's"
            case $(stat -c %A "$folder") in
            ?????w* | ????????w*) fail "$folder may be written by others than root; run: chmod go-w $folder" ;;
            esac
        fi
        [ "$folder" != / ] || return 0
        folder=$(dirname "$folder")
    done
}

sshd_config() {
    cat <<CONFIG
# Written by mailbox.sh install; serves the boards of biglittle-nas and nobody else.
Port $PORT
ListenAddress $BIND
PidFile none
HostKey $ETC/host_key
LogLevel INFO
AllowGroups $GROUP
AuthorizedKeysFile $ETC/authorized_keys.d/%u
AuthenticationMethods publickey
PubkeyAcceptedAlgorithms ssh-ed25519
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
StrictModes yes
MaxAuthTries 3
MaxSessions 2
MaxStartups 64:30:256
LoginGraceTime 20
ClientAliveInterval 15
ClientAliveCountMax 3
Compression no
DisableForwarding yes
AllowTcpForwarding no
AllowStreamLocalForwarding no
GatewayPorts no
PermitTunnel no
PermitTTY no
PermitUserRC no
PermitUserEnvironment no
Subsystem sftp internal-sftp
ChrootDirectory $ROOT/%u
ForceCommand internal-sftp -l INFO -u 0027 -p open,close,read,write,lstat,fstat,stat,opendir,readdir,realpath,remove,rename,posix-rename,fsync,limits
CONFIG
}

unit() {
    cat <<UNIT
# Written by mailbox.sh install.
[Unit]
Description=SFTP mailboxes for the edge boards of biglittle-nas
After=network.target

[Service]
ExecStartPre=/usr/sbin/sshd -t -f $ETC/sshd_config
ExecStart=/usr/sbin/sshd -D -f $ETC/sshd_config
ExecReload=/bin/kill -HUP \$MAINPID
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
KillMode=process
Restart=on-failure
LimitFSIZE=${FILE_LIMIT_KIB}K
LimitNOFILE=1024
TasksMax=2048

[Install]
WantedBy=multi-user.target
UNIT
}

install_verb() {
    local home="" user="" root=/srv/nas-edge port=8023 bind=127.0.0.1
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || usage
        case $1 in
        --home) home=$2 ;;
        --user) user=$2 ;;
        --root) root=$2 ;;
        --port) port=$2 ;;
        --bind) bind=$2 ;;
        *) usage ;;
        esac
        shift 2
    done
    if [ -z "$home" ] || [ -z "$user" ]; then usage; fi
    id -u "$user" >/dev/null 2>&1 || fail "no user $user on this machine; give the one that the service runs as"
    [ -f "$home/gateway/host_key" ] || fail "$home/gateway/host_key is absent; start the service once (nas up)"
    check_root "$root"
    ROOT=$root PORT=$port BIND=$bind
    getent group "$GROUP" >/dev/null || do_it groupadd --system "$GROUP"
    make_folder "$ETC" root:root 755
    make_folder "$ETC/authorized_keys.d" root:root 755
    make_folder "$root" root:root 755
    write_file "$ETC/settings" 644 <<SETTINGS
ROOT=$(printf %q "$root")
SERVICE_USER=$(printf %q "$user")
NAS=$(printf %q "$home")
SETTINGS
    write_file "$ETC/host_key" 600 <"$home/gateway/host_key"
    write_file "$ETC/sshd_config" 644 < <(sshd_config)
    write_file "$home/gateway/openssh" 644 <<<"$root"
    if [ -d /run/systemd/system ]; then
        write_file /etc/systemd/system/nas-edge-sshd.service 644 < <(unit)
        do_it systemctl daemon-reload
        do_it systemctl enable --now nas-edge-sshd.service
    else
        say "no systemd here; start it with: mailbox.sh run"
    fi
    say "restart the gateway (nas down; nas up), then: mailbox.sh add NAME 'ssh-ed25519 AAAA...'"
}

check_name() {
    [[ $1 =~ ^[a-z][a-z0-9_-]{0,31}$ ]] ||
        fail "board $1 cannot be an account's name: behind OpenSSH it must be 1 to 32 of a-z, 0-9, _, - and begin with a letter"
}

add_verb() {
    [ $# = 2 ] || usage
    local name=$1 key=$2 group
    settings
    check_name "$name"
    [[ $key =~ ^ssh-ed25519\ AAAA[A-Za-z0-9+/=]{60,80}(\ .*)?$ ]] || fail "the key must be one line: ssh-ed25519 AAAA..."
    if id -u "$name" >/dev/null 2>&1; then
        id -nG "$name" | tr ' ' '\n' | grep -qx "$GROUP" ||
            fail "account $name is there and is no board's; give the board another name"
    else
        do_it useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin --password '*' \
            --user-group --groups "$GROUP" "$name"
    fi
    group=$(id -gn "$SERVICE_USER")
    make_folder "$ROOT/$name" root:root 755
    make_folder "$ROOT/$name/artifacts" "$SERVICE_USER:$name" 2750
    make_folder "$ROOT/$name/inbox" "$SERVICE_USER:$name" 2750
    make_folder "$ROOT/$name/outbox" "$name:$group" 2770
    [ -e "$ROOT/$name/heartbeat.json" ] || do_it install -o "$name" -g "$group" -m 640 /dev/null "$ROOT/$name/heartbeat.json"
    [ -L "$ROOT/$name/agent.json" ] || do_it ln -s inbox/agent.json "$ROOT/$name/agent.json"
    write_file "$ETC/authorized_keys.d/$name" 644 <<<"restrict ${key%% *} $(cut -d' ' -f2 <<<"$key") $name"
}

remove_verb() {
    [ $# = 1 ] || usage
    local name=$1
    settings
    check_name "$name"
    do_it rm -f -- "$ETC/authorized_keys.d/$name"
    if id -u "$name" >/dev/null 2>&1; then
        id -nG "$name" | tr ' ' '\n' | grep -qx "$GROUP" || fail "account $name is no board's; nothing was removed but its key"
        do_it pkill -KILL -u "$name" || true # its sessions; none is fine
        do_it userdel "$name"
    fi
    if [ -d "$ROOT/$name/outbox" ]; then do_it rm -rf --one-file-system -- "${ROOT:?}/$name"; fi
    say "board $name can no longer come in; if the service still knows it: nas board rm $name"
}

run_verb() {
    settings
    mkdir -p /run/sshd
    ulimit -f "$FILE_LIMIT_KIB"
    exec /usr/sbin/sshd -D -e -f "$ETC/sshd_config"
}

if [ "${1:-}" = --dry-run ]; then
    DRY=yes
    shift
fi
[ $# -ge 1 ] || usage
verb=$1
shift
case $verb in
install | add | remove | run) ;;
*) usage ;;
esac
if [ -z "$DRY" ]; then
    [ "$(id -u)" = 0 ] || fail "$verb needs root; look first with: mailbox.sh --dry-run $verb ..."
    umask 022
fi
"${verb}_verb" "$@"
