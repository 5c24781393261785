#!/usr/bin/env bash
# Sets what 90-tickring.conf says, and takes it back.
#
#   tune.sh show                    each setting: as it is, as it should be
#   tune.sh diff                    those that differ; exit 1 if there are any
#   tune.sh apply [--yes]           sets those that differ, and remembers what they were
#   tune.sh irq --nic IF [--yes]    one core for each of a card's queues: interrupts, RPS, XPS
#   tune.sh revert [--yes]          puts back what was changed, but for what somebody else has changed since
#
# apply, irq and revert say what they would do; with --yes they do it.
# --only PREFIX   of the settings, only those whose name begins so: --only net.ipv4
# --cores LIST    the shards' cores, as in tickring.toml: 1,2,3; all but the first of four or more if not told
# --conf FILE     other settings than those of 90-tickring.conf beside this script
# --state FILE    where what was changed is remembered: /var/lib/tickring-tune/changed
# --root DIR      before /proc and /sys, for tests
# A setting that this kernel lacks is said to be absent, and passed over.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
conf=$here/90-tickring.conf state=/var/lib/tickring-tune/changed root='' only='' cores='' nic='' yes=0

fail() {
    echo "tune.sh: $1" >&2
    exit "${2:-64}"
}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

command=${1:-}
if (($# > 0)); then shift; fi
while (($# > 0)); do
    case $1 in
        --yes) yes=1 ;;
        --only | --cores | --conf | --state | --root | --nic)
            (($# > 1)) || fail "$1 takes a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) fail "what is $1? tune.sh help says what there is" ;;
    esac
    shift
done

[[ -z $cores || $cores =~ ^[0-9]+(,[0-9]+)*$ ]] || fail "--cores is $cores, expected numbers as 1,2,3"
[[ -r $conf ]] || fail "cannot read $conf" 66

# path_of NAME: a sysctl key's file, or the path that the name is.
path_of() {
    case $1 in
        /*) printf '%s%s' "$root" "$1" ;;
        *) printf '%s/proc/sys/%s' "$root" "${1//.//}" ;;
    esac
}

# value FILE: with single blanks; the chosen one where the kernel lists all, as "always [madvise] never".
value() {
    local text
    text=$(tr -s '[:space:]' ' ' <"$1") && text=${text% }
    if [[ $text =~ \[([^]]*)\] ]]; then text=${BASH_REMATCH[1]}; fi
    printf '%s' "$text"
}

# same A B: masks of CPUs differ by leading zeros and commas only.
same() {
    [[ $1 == "$2" ]] || { [[ $1 =~ ^[0-9a-f,]+$ && $2 =~ ^[0-9a-f,]+$ && $(bare "$1") == "$(bare "$2")" ]]; }
}

bare() {
    sed 's/,//g; s/^0*//' <<<"$1"
}

# The shards' cores, one a line.
core_list() {
    if [[ -n $cores ]]; then
        tr ',' '\n' <<<"$cores"
        return
    fi
    local all
    all=$(nproc)
    seq $((all >= 4 ? 1 : 0)) $((all - 1))
}

# mask CORE...: as the kernel writes sets of CPUs, 32 to a group.
mask() {
    local core group text='' highest=0
    local -a groups=()
    for core in "$@"; do
        group=$((core / 32))
        groups[group]=$((${groups[group]:-0} | 1 << (core % 32)))
        if ((group > highest)); then highest=$group; fi
    done
    for ((group = highest; group >= 0; group--)); do
        if [[ -z $text ]]; then printf -v text '%x' "${groups[group]:-0}"; else printf -v text '%s,%08x' "$text" "${groups[group]:-0}"; fi
    done
    printf '%s' "$text"
}

# Lines `NAME<tab>VALUE` of all that apply sets: keys of the file, then what has no key.
wanted() {
    {
        sed -n 's/^[[:space:]]*-\{0,1\}\([a-z][a-zA-Z0-9_./-]*\)[[:space:]]*=[[:space:]]*\(.*[^[:space:]]\)[[:space:]]*$/\1\t\2/p' "$conf"
        # Huge pages for who asks: made behind a process's back they stop it.
        printf '%s\t%s\n' /sys/kernel/mm/transparent_hugepage/enabled madvise
        # Looking for equal pages takes cores, and breaks them up again at a write.
        printf '%s\t%s\n' /sys/kernel/mm/ksm/run 0
        local core
        while read -r core; do
            printf '%s\t%s\n' "/sys/devices/system/cpu/cpu$core/cpufreq/scaling_governor" performance
        done < <(core_list)
    } | while IFS=$'\t' read -r name want; do
        if [[ $name == "$only"* ]]; then printf '%s\t%s\n' "$name" "$want"; fi
    done
}

# Lines `NAME<tab>VALUE` for the queues of a card: queue i belongs to the core of shard i.
wanted_irq() {
    local device=$root/sys/class/net/$nic
    [[ -n $nic ]] || fail "irq needs --nic IF"
    [[ -d $device ]] || fail "there is no card $nic" 66
    local -a of_shards=() irqs=()
    mapfile -t of_shards < <(core_list)
    if [[ -d $device/device/msi_irqs ]]; then
        # The lowest often tells of the link, not of a queue; what is called by the card's name and a queue is in interrupts.
        mapfile -t irqs < <(awk -v nic="$nic" '$NF ~ nic "[-_].*[0-9]+$" || $NF ~ "-(input|output)\\.[0-9]+$" {
            sub(":", "", $1); print $1 }' "$root/proc/interrupts" | while read -r irq; do
            if [[ -e $device/device/msi_irqs/$irq ]]; then echo "$irq"; fi
        done)
    fi
    local i core queue queues=0
    for i in "${!irqs[@]}"; do
        printf '%s\t%s\n' "/proc/irq/${irqs[i]}/smp_affinity" "$(mask "${of_shards[i % ${#of_shards[@]}]}")"
    done
    for queue in "$device"/queues/rx-*; do
        if [[ -e $queue/rps_cpus ]]; then queues=$((queues + 1)); fi
    done
    for queue in "$device"/queues/rx-*; do
        [[ -e $queue/rps_cpus ]] || continue
        # With a queue for each shard the card has spread them; else the kernel does.
        core=$(mask "${of_shards[@]}")
        if ((queues >= ${#of_shards[@]})); then core=0; fi
        printf '%s\t%s\n' "/sys/class/net/$nic/queues/${queue##*/}/rps_cpus" "$core"
    done
    for queue in "$device"/queues/tx-*; do
        [[ -e $queue/xps_cpus ]] || continue
        i=${queue##*-}
        printf '%s\t%s\n' "/sys/class/net/$nic/queues/${queue##*/}/xps_cpus" "$(mask "${of_shards[i % ${#of_shards[@]}]}")"
    done
}

# compare: lines of `wanted` → `NAME<tab>NOW<tab>VALUE<tab>STATE`.
compare() {
    local name want path now
    while IFS=$'\t' read -r name want; do
        path=$(path_of "$name")
        # Some exist and say nothing: a card with one queue has no XPS.
        if [[ ! -e $path ]] || ! now=$(value "$path" 2>/dev/null); then
            printf '%s\t%s\t%s\t%s\n' "$name" - "$want" absent
        elif same "$now" "$want"; then
            printf '%s\t%s\t%s\t%s\n' "$name" "$now" "$want" same
        else
            printf '%s\t%s\t%s\t%s\n' "$name" "$now" "$want" differs
        fi
    done
}

# remember NAME NOW VALUE: what it was before the first change, and what it was set to last.
remember() {
    local before=$2 kept=''
    if [[ -f $state ]]; then
        kept=$(awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$state")
        awk -F '\t' -v name="$1" '$1 != name' "$state" >"$state.new"
    else
        mkdir -p "$(dirname "$state")"
        : >"$state.new"
    fi
    printf '%s\t%s\t%s\n' "$1" "${kept:-$before}" "$3" >>"$state.new"
    mv -f "$state.new" "$state"
}

forget() {
    awk -F '\t' -v name="$1" '$1 != name' "$state" >"$state.new"
    mv -f "$state.new" "$state"
    if [[ ! -s $state ]]; then rm -f "$state"; fi
}

# set_to NAME VALUE: whether the kernel took it.
set_to() {
    local path
    path=$(path_of "$1")
    { printf '%s\n' "$2" >"$path"; } 2>/dev/null && same "$(value "$path")" "$2"
}

# change: carries out lines of `compare`, or says them.
change() {
    local name now want how refused=0
    while IFS=$'\t' read -r name now want how; do
        case $how in
            absent) echo "absent, passed over: $name" ;;
            differs)
                if ((yes == 0)); then
                    echo "would set $name: $now -> $want"
                    continue
                fi
                # First, so that nothing is changed that cannot be put back.
                remember "$name" "$now" "$want"
                if set_to "$name" "$want"; then
                    echo "set $name: $now -> $want"
                else
                    # It may have been set to something else than was asked for: that is put back too.
                    set_to "$name" "$now" || true
                    forget "$name"
                    echo "refused by the kernel, or not yours to set: $name" >&2
                    refused=1
                fi
                ;;
        esac
    done
    if ((yes == 0)); then echo "nothing was changed; --yes does it"; fi
    return "$refused"
}

revert() {
    local name before set now path refused=0
    if [[ ! -s $state ]]; then
        echo "nothing is remembered in $state"
        return
    fi
    while IFS=$'\t' read -r name before set; do
        path=$(path_of "$name")
        if [[ ! -e $path ]]; then
            echo "absent, forgotten: $name"
        else
            now=$(value "$path")
            if ! same "$now" "$set"; then
                echo "left, somebody has changed it since: $name is $now, not $set"
            elif ((yes == 0)); then
                echo "would put back $name: $now -> $before"
            elif set_to "$name" "$before"; then
                echo "put back $name: $now -> $before"
            else
                echo "refused by the kernel, or not yours to set: $name" >&2
                refused=1
                continue
            fi
        fi
        if ((yes == 1)); then forget "$name"; fi
    done < <(cat "$state")
    if ((yes == 0)); then echo "nothing was changed; --yes does it"; fi
    return "$refused"
}

case $command in
    show)
        printf '%s\t%s\t%s\t%s\n' setting now wanted '' | cat - <(wanted | compare) | column -t -s $'\t' ;;
    diff)
        found=$(wanted | compare | awk -F '\t' '$4 == "differs" { print $1 ": " $2 " -> " $3 }')
        if [[ -z $found ]]; then exit 0; fi
        printf '%s\n' "$found"
        exit 1
        ;;
    apply) change < <(wanted | compare) ;;
    irq)
        # Not inside the pipe, where its failure would be lost.
        settings=$(wanted_irq)
        if [[ -z $settings ]]; then echo "$nic has no queues whose cores could be chosen"; exit 0; fi
        change < <(compare <<<"$settings")
        ;;
    revert) revert ;;
    help | -h | --help) usage ;;
    *) fail "the first word is show, diff, apply, irq, revert or help" ;;
esac
