#!/usr/bin/env bash
# Make this machine a board: user, virtual environment, package, udev rules, systemd unit, enrolment, doctor.
#
#   install.sh [--dry-run] [--from PACKAGE] [--runtime PIP_WORDS] [--python PYTHON] [--hold-clocks] [HOST[:PORT] CODE]
#
#   --from          what pip installs: a wheel, a checkout, a name (default: this checkout, else biglittle-nas)
#   --runtime       another onnxruntime, as words for pip; by default pip takes onnxruntime from its index
#   --python        Python 3.10 or later (default: python3)
#   --hold-clocks   let the unit fix the clocks at every start (performance governor, on a Jetson jetson_clocks)
#   --dry-run       show what would be done, and do nothing
#
# HOST[:PORT] and CODE are what `nas board add` printed; without them the unit is installed and not started.
# May be repeated, also to update. Needs root.
set -euo pipefail

PREFIX=/opt/nas-edge
STATE=/var/lib/nas-edge # as in nas-edge.service
UNITS=/etc/systemd/system
USER_NAME=nas-edge
FILES=$(cd "$(dirname "$0")" && pwd)
DRY='' PACKAGE='' RUNTIME='' PYTHON=python3 HOLD='' ADDRESS='' CODE=''

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# Run a command, or say that it would be run.
do_it() {
    if [ -n "$DRY" ]; then say "would run: $*"; else "$@"; fi
}

# Write stdin to FILE, or say that it would be written.
write_file() {
    if [ -n "$DRY" ]; then
        say "would write: $1"
        sed 's/^/    /'
    else
        install -D -m 644 /dev/stdin "$1"
    fi
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --dry-run) DRY=yes ;;
        --hold-clocks) HOLD=yes ;;
        --from | --runtime | --python)
            [ $# -ge 2 ] || usage
            case $1 in
            --from) PACKAGE=$2 ;;
            --runtime) RUNTIME=$2 ;;
            --python) PYTHON=$2 ;;
            esac
            shift
            ;;
        -*) usage ;;
        *)
            [ $# = 2 ] || usage
            ADDRESS=$1 CODE=$2
            shift
            ;;
        esac
        shift
    done
    if [ -z "$PACKAGE" ]; then
        PACKAGE=biglittle-nas
        if [ -f "$FILES/../../pyproject.toml" ]; then PACKAGE=$(cd "$FILES/../.." && pwd); fi
    fi
}

check_machine() {
    case $(uname -m) in
    aarch64 | x86_64) ;;
    *) fail "this system is $(uname -m), and onnxruntime needs a 64-bit one: install the board's 64-bit image" ;;
    esac
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        if grep -qs 'R32' /etc/nv_tegra_release; then
            fail "JetPack 4 has Python 3.6; run the agent's image instead: docs/board.md, Jetson Nano"
        fi
        fail "$PYTHON is too old or absent; install Python 3.10 or later and name it with --python"
    fi
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || fail "$PYTHON makes no environments; run: apt install python3-venv"
}

make_user() {
    id -u "$USER_NAME" >/dev/null 2>&1 || do_it useradd --system --home-dir "$STATE" --shell /usr/sbin/nologin "$USER_NAME"
    do_it groupadd -f --system nas-power
    do_it usermod -aG nas-power "$USER_NAME"
    # Those of a Pi's firmware and a Jetson's GPU, where the system has them
    for group in video render; do
        if getent group "$group" >/dev/null; then do_it usermod -aG "$group" "$USER_NAME"; fi
    done
    do_it install -d -o "$USER_NAME" -g "$USER_NAME" -m 700 "$STATE"
}

user_has_python() {
    runuser -u "$USER_NAME" -- "$PREFIX/bin/python" -c '' 2>/dev/null
}

install_package() {
    local how=()
    # An environment whose Python is gone, as after an upgrade of the system, is made anew.
    if [ -z "$DRY" ] && [ -e "$PREFIX/pyvenv.cfg" ] && ! user_has_python; then how=(--clear); fi
    do_it "$PYTHON" -m venv "${how[@]}" "$PREFIX"
    # Root's own Python, such as one below /root, makes an environment that the unit's user cannot run.
    [ -n "$DRY" ] || user_has_python ||
        fail "user $USER_NAME cannot run $(command -v "$PYTHON"); name the system's: --python /usr/bin/python3"
    do_it "$PREFIX/bin/pip" install --upgrade pip
    if [ -z "$RUNTIME" ]; then
        do_it "$PREFIX/bin/pip" install --upgrade "$PACKAGE"
        return
    fi
    # The package asks for the distribution `onnxruntime`; beside another flavour the two would shadow each other.
    local words
    read -ra words <<<"$RUNTIME"
    do_it "$PREFIX/bin/pip" uninstall --yes onnxruntime
    do_it "$PREFIX/bin/pip" install 'numpy>=1.24' 'paramiko>=3.4'
    do_it "$PREFIX/bin/pip" install "${words[@]}"
    do_it "$PREFIX/bin/pip" install --upgrade --no-deps "$PACKAGE"
}

install_service() {
    do_it install -m 644 "$FILES/99-nas-edge.rules" /etc/udev/rules.d/
    do_it udevadm control --reload
    do_it udevadm trigger --action=add
    do_it install -m 644 "$FILES/nas-edge.service" "$UNITS/"
    if [ -n "$HOLD" ]; then hold_clocks; fi
    do_it systemctl daemon-reload
}

# The first board of a class freezes its governor, so the clocks are held before it enrols.
hold_clocks() {
    local command='echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor >/dev/null'
    if [ -x /usr/bin/jetson_clocks ]; then command=/usr/bin/jetson_clocks; fi
    write_file "$UNITS/nas-edge.service.d/clocks.conf" <<DROP_IN
[Service]
# With root's rights, for the agent has none
ExecStartPre=+/bin/sh -c '$command'
DROP_IN
    do_it sh -c "$command"
}

agent() {
    do_it runuser -u "$USER_NAME" -- env "NAS_EDGE_HOME=$STATE" "$PREFIX/bin/nas-edge" "$@"
}

enrol_and_start() {
    if [ -z "$ADDRESS" ]; then
        say "next: $0 HOST:PORT CODE, with what \`nas board add NAME --class CLASS\` prints on the service's machine"
        return
    fi
    agent enroll "$ADDRESS" "$CODE"
    do_it systemctl enable nas-edge
    do_it systemctl restart nas-edge
    agent doctor || fail "mend what is marked fail above, then look again: systemctl restart nas-edge"
}

parse "$@"
check_machine
if [ -z "$DRY" ]; then
    [ "$(id -u)" = 0 ] || fail "needs root; look first with: $0 --dry-run"
    umask 022
fi
make_user
install_package
install_service
enrol_and_start
