#!/usr/bin/env bash
# Installs tickring as a systemd service, or takes it away again. As often as you like: what is there already stays as it is,
# and a configuration that somebody has changed is never written over.
#
#   systemd/install.sh [--dry-run] [--binary FILE] [--with-backends] [--prefix DIR] [--root DIR]
#   systemd/install.sh --uninstall [--dry-run] [--prefix DIR] [--root DIR]
#
# --dry-run        says what would be done, and does nothing
# --binary FILE    the server; target/release/tickring if not told
# --with-backends  the form whose hardening leaves room for child processes (with-backends.conf)
# --prefix DIR     for the binary, units and documentation: /usr/local if not told
# --root DIR       installs into a folder, as packages and tests do: nothing of this system is touched then
# Without --root it takes root's rights. The service is neither enabled nor started; the last lines say how.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
prefix=/usr/local root='' binary=$project/target/release/tickring
dry=0 uninstall=0 backends=0

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

while (($# > 0)); do
    case $1 in
        --dry-run) dry=1 ;;
        --uninstall) uninstall=1 ;;
        --with-backends) backends=1 ;;
        --binary | --prefix | --root)
            (($# > 1)) || fail "$1 takes a value" 64
            case $1 in
                --binary) binary=$2 ;;
                --prefix) prefix=${2%/} ;;
                --root) root=${2%/} ;;
            esac
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) fail "what is $1? --help says what there is" 64 ;;
    esac
    shift
done
# Units hold it, and systemd takes whole paths only.
[[ $prefix == /* && $prefix != *[[:space:]@%\\]* ]] || fail "--prefix must begin with /, without blanks, @, % or \\: $prefix" 64
if [[ -z $root ]] && ((dry == 0)) && ((EUID != 0)); then fail "needs root's rights, or --root DIR" 77; fi

units=$prefix/lib/systemd/system
docs=$prefix/share/doc/tickring
config=/etc/tickring/tickring.toml
dropin=$units/tickring.service.d/50-backends.conf
# As it was installed, to tell whether somebody has changed it.
pristine=$docs/tickring.service.toml

# Where each file goes; the configuration is apart.
declare -A goes=(
    [$units/tickring.service]=$here/tickring.service
    [$units/tickring@.socket]=$here/tickring@.socket
    [$units/tickring-backup.service]=$here/tickring-backup.service
    [$units/tickring-backup.timer]=$here/tickring-backup.timer
    [$prefix/lib/tickring/backup.sh]=$here/backup.sh
    [$prefix/lib/sysusers.d/tickring.conf]=$here/sysusers.conf
    [$prefix/lib/tmpfiles.d/tickring.conf]=$here/tmpfiles.conf
    [$docs/tickring.toml]=$project/tickring.toml
    [$docs/sbe/tickring.xml]=$project/docs/sbe/tickring.xml
)
for page in "$project"/docs/*.md "$project"/docs/decisions/*.md "$project"/docs/scaling/*; do goes[$docs${page#"$project/docs"}]=$page; done

# run WHAT...: says it, and does it unless this is a dry run.
run() {
    printf '%s\n' "$*"
    if ((dry == 0)); then "$@"; fi
}

# rendered FILE: its text with the prefix in it. Pages lose their links to what is not installed.
rendered() {
    local outside='\.\./'
    case $1 in
        */docs/decisions/*.md) outside='\.\./\.\./' ;;
        */docs/*.md) ;;
        *) sed "s|@PREFIX@|$prefix|g" "$1"; return ;;
    esac
    sed -e 's|](\.\./tickring\.toml)|](tickring.toml)|g' -e "s|\[\([^][]*\)\](${outside}[^)]*)|\1|g" -e "s|\](${outside}[^)]*)|]|g" "$1"
}

# put TEXT-FILE PLACE: renders it there, unless it is there already.
put() {
    local place=$root$2
    if [[ -f $place ]] && cmp -s "$place" <(rendered "$1"); then
        echo "as it is: $place"
        return
    fi
    echo "write $place"
    if ((dry == 1)); then return; fi
    mkdir -p "$(dirname "$place")"
    # In one step: a reader sees the old or the new one.
    rendered "$1" >"$place.new"
    # A program stays one.
    if [[ -x $1 ]]; then chmod 0755 "$place.new"; else chmod 0644 "$place.new"; fi
    mv -f "$place.new" "$place"
}

# take PLACE: removes a file, if there is one.
take() {
    if [[ -e $root$1 ]]; then run rm -f "$root$1"; fi
}

is_changed() {
    [[ -f $root$config ]] && ! cmp -s "$root$config" "$root$pristine"
}

sorted_places() {
    printf '%s\n' "${!goes[@]}" | LC_ALL=C sort
}

install_all() {
    [[ -x $binary ]] || fail "$binary is no program: cargo build --release, or --binary FILE" 66
    if cmp -s "$binary" "$root$prefix/bin/tickring"; then
        echo "as it is: $root$prefix/bin/tickring"
    else
        run install -D -m 0755 "$binary" "$root$prefix/bin/tickring"
    fi
    local place
    while read -r place; do put "${goes[$place]}" "$place"; done < <(sorted_places)
    if ((backends == 1)); then put "$here/with-backends.conf" "$dropin"; else take "$dropin"; fi
    if is_changed; then
        echo "left as it was changed: $root$config; the new one is $root$pristine"
    else
        put "$here/tickring.toml" "$config"
    fi
    put "$here/tickring.toml" "$pristine"
    if [[ -n $root ]]; then return; fi
    run systemd-sysusers "$prefix/lib/sysusers.d/tickring.conf"
    run systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/tickring.conf"
    if [[ -d /run/systemd/system ]]; then run systemctl daemon-reload; fi
    cat <<END
next: $prefix/bin/tickring keys add --help       a key to log in by, in /etc/tickring/keys.toml
      systemctl enable --now tickring            $units/tickring.service
      systemctl enable --now tickring-backup.timer   daily backups, where store.directory is set
      systemctl status tickring; journalctl -u tickring
END
}

uninstall_all() {
    if [[ -z $root && -d /run/systemd/system ]]; then
        local sockets
        mapfile -t sockets < <(systemctl list-units --all --plain --no-legend 'tickring@*.socket' | awk '{ print $1 }')
        run systemctl disable --now tickring.service tickring-backup.timer "${sockets[@]}" || true
    fi
    if is_changed; then
        echo "left as it was changed: $root$config"
    else
        take "$config"
    fi
    local place
    while read -r place; do take "$place"; done < <(sorted_places)
    take "$pristine"
    take "$dropin"
    take "$prefix/bin/tickring"
    if ((dry == 0)); then
        rmdir --ignore-fail-on-non-empty "$root$units/tickring.service.d" "$root$prefix/lib/tickring" "$root$docs/decisions" "$root$docs/sbe" "$root$docs/scaling" "$root$docs" "$root/etc/tickring" 2>/dev/null || true
    fi
    if [[ -z $root && -d /run/systemd/system ]]; then run systemctl daemon-reload; fi
    echo "left: the user tickring, /etc/tickring if there is something of yours in it, /var/lib/tickring"
}

if ((uninstall == 1)); then uninstall_all; else install_all; fi
