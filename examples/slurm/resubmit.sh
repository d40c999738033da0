#!/bin/bash
# Submits the parts again that are not complete, with the same INPUT, OUTPUT, PARTS and arguments as the first time. A part in
# which an image fails for good stays incomplete: stop when what is missing no longer changes.
set -euo pipefail
plan=$(clip-features "${INPUT:?}" -o "${OUTPUT:?}" --part "0/${PARTS:?}" --dry-run --json "$@")
missing=$(sed -n 's/.*"missing":"\([^"]*\)".*/\1/p' <<<"$plan")
if [ -z "$missing" ]; then
    echo "all $PARTS parts are complete"
else
    exec sbatch --array="$missing" "$(dirname "$0")/extract.sbatch" "$@"
fi
