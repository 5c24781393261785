#!/usr/bin/env bash
# Makes a backup of the store for durable messages, and takes the oldest away: what tickring-backup.service runs.
#
#   backup.sh PROGRAM STORE
#
# BACKUPS is the folder that they go to, BACKUPS_KEPT (7) how many stay there.
set -euo pipefail

program=$1 store=$2 folder=${BACKUPS:?the folder for backups} kept=${BACKUPS_KEPT:-7}
[[ $kept =~ ^[1-9][0-9]*$ ]] || { echo "BACKUPS_KEPT is $kept, expected a number from 1 on" >&2; exit 64; }

"$program" store backup --directory "$store" --to "$folder/store-$(date -u +%Y%m%dT%H%M%SZ)"
# Only behind one that was made: their names are in the order of their times.
find "$folder" -maxdepth 1 -type f -name 'store-????????T??????Z' -print0 | LC_ALL=C sort -z | head -z -n "-$kept" | xargs -0 -r rm --
