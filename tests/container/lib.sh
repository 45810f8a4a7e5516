# The machine: a bare Debian, unpacked, booted, and a way in. Sourced by run.

packages=systemd,systemd-sysv,dbus,udev,util-linux,procps,e2fsprogs
root=
loop=
other_loop=
leader=
nspawn=
passed=0
failed=0

bare_debian() {
    mkdir -p "$cache"
    [ -s "$cache/base.tar" ] && return
    echo "making a bare Debian 12 in $cache, once"
    mmdebstrap --variant=minbase --include=$packages bookworm "$cache/base.tar.new" >"$cache/mmdebstrap.log" 2>&1 || {
        tail -5 "$cache/mmdebstrap.log" >&2
        skip "mmdebstrap failed: is there a network?"
    }
    mv "$cache/base.tar.new" "$cache/base.tar"
}

unpack() {
    root=$(mktemp -d -p "$cache")
    tar -C "$root" -xf "$cache/base.tar"
    # The disks under test, on the host's side: a loop device each.
    truncate -s 48M "$root.disk"
    # One of them on a file system that can be frozen, so that it hangs.
    truncate -s 64M "$root.fs"
    mkfs.ext4 -q "$root.fs"
    mkdir "$root.mnt"
    mount -o loop "$root.fs" "$root.mnt" || skip "loop devices are not to be had here"
    dd if=/dev/zero of="$root.mnt/other" bs=1M count=12 status=none
    loop=$(losetup --show --direct-io=on -f "$root.disk" 2>/dev/null || losetup --show -f "$root.disk")
    other_loop=$(losetup --show -f "$root.mnt/other")
    [ -n "$loop" ] && [ -n "$other_loop" ] || skip "loop devices are not to be had here"
    systemd-nspawn --quiet -D "$root" --register=no --keep-unit true </dev/null || skip "systemd-nspawn can start nothing here"
    cp "$deb" "$root/scrubd.deb"
}

# The devices of a container are what its /dev holds, and what the cgroup of each unit lets through.
boot() {
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet -D "$root" --boot --register=no --keep-unit \
        --machine=scrubd-test --capability=CAP_BPF --system-call-filter=bpf --console=read-only \
        >>"$root.console" 2>&1 </dev/null &
    local waited
    for waited in $(seq 600); do
        find_leader
        if [ -n "$leader" ] && c systemctl is-system-running 2>/dev/null | has -E 'running|degraded'; then
            c mknod -m 600 "$loop" b 7 "${loop#/dev/loop}"
            c mknod -m 600 "$other_loop" b 7 "${other_loop#/dev/loop}"
            # As 70-scrubd.rules does for a disk that is tagged; there is no udev in a container.
            if c id scrubd >/dev/null 2>&1; then c chown scrubd:scrubd "$loop" "$other_loop"; fi
            return 0
        fi
        sleep 0.1
    done
    echo "the container does not boot: $root.console" >&2
    tail -20 "$root.console" >&2
    exit 1
}

# By the directory, which is this run's alone. A case that reboots has started another than the one before.
find_leader() {
    nspawn=$(pgrep -f "^systemd-nspawn .*-D $root " || true)
    leader=
    if [ -n "$nspawn" ]; then leader=$(pgrep -P "$nspawn" -x systemd || true); fi
}

# Its systemd starts anew, /run is empty, what was durable is there. nspawn ends with it, as nobody keeps its unit.
reboot() {
    local waited
    c systemctl reboot
    for waited in $(seq 300); do
        find_leader
        [ -n "$nspawn" ] || break
        sleep 0.1
    done
    boot
}

# Runs something in the container.
c() {
    nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 "$@"
}

freeze() { fsfreeze -f "$root.mnt"; }
thaw() { fsfreeze -u "$root.mnt"; }

tear_down() {
    # What hangs could not end.
    thaw 2>/dev/null
    find_leader
    if [ -n "$leader" ]; then
        kill -s RTMIN+4 "$leader" 2>/dev/null
        local waited
        for waited in $(seq 100); do
            kill -0 "$nspawn" 2>/dev/null || break
            sleep 0.1
        done
    fi
    [ -z "$nspawn" ] || kill "$nspawn" 2>/dev/null
    wait
    [ -n "$loop" ] && losetup -d "$loop"
    [ -n "$other_loop" ] && losetup -d "$other_loop"
    umount "$root.mnt" && rmdir "$root.mnt"
    [ -n "$root" ] && rm -rf --one-file-system "$root" "$root.disk" "$root.console" "$root.fs"
}

# run_case NAME [WORD…]: the name is the sentence.
run_case() {
    local name=$1 word log begin=$SECONDS
    shift
    if [ $# -gt 0 ]; then
        local wanted=
        for word in "$@"; do [[ $name = *$word* ]] && wanted=yes; done
        [ -n "$wanted" ] || return 0
    fi
    log=$(mktemp)
    # In the background, as bash ignores `set -e` in what a condition runs.
    (set -eo pipefail; "$name") >"$log" 2>&1 </dev/null &
    if wait $!; then
        passed=$((passed + 1))
        echo "ok      $(words "$name") ($((SECONDS - begin)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED  $(words "$name")"
        sed 's/^/        /' "$log" | tail -25
    fi
    rm -f "$log"
    find_leader
}

words() {
    local text=${1#case_}
    echo "${text//_/ }"
}

# --- What the cases say.

state_of() { c systemctl show -P "$2" "scrubd@$1"; }

is() {
    local found
    found=$(state_of "$1" "$2")
    [ "$found" = "$3" ] || { echo "scrubd@$1: $2 is \"$found\", not \"$3\""; c systemctl status --no-pager -l "scrubd@$1" || true; return 1; }
}

# until_is NAME PROPERTY VALUE, within 40 s of a busy machine.
until_is() {
    local waited
    for waited in $(seq 400); do
        [ "$(state_of "$1" "$2")" = "$3" ] && return 0
        sleep 0.1
    done
    is "$1" "$2" "$3"
}

# until_true COMMAND…
until_true() {
    local waited
    for waited in $(seq 400); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "not within 40 s: $*"
    "$@"
}

fails() { ! "$@"; }

said() { c journalctl --no-pager -o cat -u "scrubd@$1" | grep -F -e "$2"; }

restarts_of() { state_of "$1" NRestarts; }

# config NAME KEYS…: the whole of /etc/scrubd/conf.d/NAME.toml.
config() {
    local name=$1
    shift
    { echo "[target.$name]"; printf '%s\n' "$@"; } >"$root/etc/scrubd/conf.d/$name.toml"
}

drop_in() {
    mkdir -p "$root/etc/systemd/system/$1.service.d"
    cat >"$root/etc/systemd/system/$1.service.d/$2.conf"
    c systemctl daemon-reload
}

fresh() { c systemctl reset-failed "scrubd@$1" 2>/dev/null || true; }

# Reads all of what it is given: `grep -q` would end a pipe early, and with it whatever still writes into that.
has() { grep "$@" >/dev/null; }
