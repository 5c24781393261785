#!/usr/bin/env bash
# Checks what is in systemd/ without a systemd as process 1: installs into a folder, and asks systemd's own tools.
#
#   systemd/check.sh [PROGRAM]
#
# PROGRAM is the server, to check the service's configuration with; without one that is left out. shellcheck is taken from PATH.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${1:-}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Of 100: an exposure level of 2.0, and of 3.0 with backends, whose children may write code and make namespaces.
readonly HARDENED_MAX=20 BACKENDS_MAX=30
readonly UNITS=usr/local/lib/systemd/system

# score NAME MAX [UNIT]: the exposure of the unit as it is installed, drop-ins included.
score() {
    systemd-analyze security --no-pager --root="$root" --offline=yes --threshold="$2" "${3:-tickring.service}" >"$root/score" || {
        cat "$root/score"
        echo "$1: more exposed than $2 of 100" >&2
        return 1
    }
    echo "$1: $(tail -n 1 "$root/score"), at most $2 of 100"
}

# Warnings are faults too.
verify() {
    local said
    said=$(systemd-analyze verify --root="$root" --man=no tickring.service tickring@0.socket tickring-backup.service tickring-backup.timer 2>&1) && [[ -z $said ]] && return
    printf '%s\n' "$said" >&2
    return 1
}

# What was installed, with the content of each: to see that a second time changes nothing.
listing() {
    (cd "$root" && find . -path ./system -prune -o -type f -exec sha256sum {} + | LC_ALL=C sort)
}

expect() {
    local said
    said=$("${@:2}" 2>&1)
    grep -qF -- "$1" <<<"$said" || {
        printf '%s\nis not said: %s\n' "$said" "$1" >&2
        return 1
    }
}

# Every page that is installed links to what is installed.
check_pages() {
    local page link dead=0
    while read -r page; do
        while read -r link; do
            link=${link%%#*}
            [[ -z $link || $link == *://* || -e $(dirname "$page")/$link ]] || { echo "$page: dead link: $link" >&2; dead=1; }
        done < <(grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//')
    done < <(find "$root/usr/local/share/doc/tickring" -name '*.md')
    ((dead == 0))
}

check_install() {
    local first changed
    expect 'write' "$here/install.sh" --dry-run --root "$root" --binary "$stand_in"
    [[ -z $(ls "$root") ]]
    "$here/install.sh" --root "$root" --binary "$stand_in" >/dev/null
    check_pages
    first=$(listing)
    expect 'as it is' "$here/install.sh" --root "$root" --binary "$stand_in"
    [[ $(listing) == "$first" ]]
    echo '# mine' >>"$root/etc/tickring/tickring.toml"
    changed=$(listing)
    expect 'left as it was changed' "$here/install.sh" --root "$root" --binary "$stand_in"
    [[ $(listing) == "$changed" ]]
    expect 'left as it was changed' "$here/install.sh" --uninstall --root "$root"
    [[ $(cd "$root" && find . -type f) == ./etc/tickring/tickring.toml ]]
    rm "$root/etc/tickring/tickring.toml"
    "$here/install.sh" --root "$root" --binary "$stand_in" --with-backends >/dev/null
    "$here/install.sh" --uninstall --root "$root" >/dev/null
    [[ -z $(cd "$root" && find . -type f) ]]
    echo "install.sh: installs, changes nothing the second time, leaves a changed configuration, takes all away"
}

check_units() {
    # Units and programs of the system that ours name.
    mkdir -p "$root/lib/systemd" "$root/bin"
    cp -a /lib/systemd/system "$root/lib/systemd/"
    install -m 0755 /bin/true "$root/bin/kill"
    "$here/install.sh" --root "$root" --binary "$stand_in" >/dev/null
    verify
    echo "hardened: systemd-analyze verify is clean"
    score hardened "$HARDENED_MAX"
    score backup "$HARDENED_MAX" tickring-backup.service
    "$here/install.sh" --root "$root" --binary "$stand_in" --with-backends >/dev/null
    [[ -f $root/$UNITS/tickring.service.d/50-backends.conf ]]
    verify
    echo "with backends: systemd-analyze verify is clean"
    score 'with backends' "$BACKENDS_MAX"
    expect tickring systemd-sysusers --dry-run --root="$root" "$here/sysusers.conf"
}

# What the rings and pinning need has to pass the filter; `~@resources` would take half of it.
check_filter() {
    local allowed call
    allowed=$(systemd-analyze syscall-filter --no-pager @system-service @aio @resources @memlock @default @basic-io @io-event)
    for call in io_uring_setup io_uring_enter io_uring_register sched_setaffinity sched_setscheduler setpriority membarrier mlock; do
        grep -qwF "$call" <<<"$allowed" || { echo "$call is in none of the sets" >&2; return 1; }
    done
    for set in @aio @resources @memlock; do
        systemd-analyze syscall-filter --no-pager @system-service | grep -qwF -- "$set"
    done
    [[ $(grep -c '^SystemCallFilter=.*@resources' "$here/tickring.service") == 0 ]]
    echo "filter: io_uring, pinning and locked memory pass"
}

check_configuration() {
    local credentials=$root/credentials
    if [[ -z $program ]]; then
        echo "configuration: NOT checked, no program was given"
        return
    fi
    mkdir -p "$credentials"
    install -m 0600 /dev/null "$credentials/keys"
    CREDENTIALS_DIRECTORY=$credentials STATE_DIRECTORY=$root "$program" check --config "$here/tickring.toml"
}

# With a stand-in that makes a file: the newest are kept, in the order of their names, and nothing else is touched.
check_backups() {
    local folder=$root/backups made
    mkdir -p "$folder"
    touch "$folder"/store-2026010{1..9}T000000Z "$folder/store-mine"
    cat >"$root/stand-in" <<'END'
#!/usr/bin/env bash
[[ "$1 $2 $3 $4 $5" == 'store backup --directory /s --to' && ! -e $6 ]] && touch "$6"
END
    chmod 0755 "$root/stand-in"
    BACKUPS=$folder BACKUPS_KEPT=3 "$here/backup.sh" "$root/stand-in" /s
    made=$(ls "$folder")
    [[ $(wc -l <<<"$made") == 4 && $made == store-20260108T000000Z*store-20260109T000000Z*store-2*store-mine ]]
    if BACKUPS=$folder BACKUPS_KEPT=3 "$here/backup.sh" /bin/false /s; then return 1; fi
    [[ $(ls "$folder") == "$made" ]]
    echo "backup.sh: keeps the newest, and all of them where none was made"
    rm -r "$folder" "$root/stand-in"
}

stand_in=/bin/true
shellcheck "$here"/*.sh
echo "shellcheck: clean"
check_install
check_backups
check_units
check_filter
check_configuration
