#!/bin/sh
# Says how long the first build takes. $SERVER is the binary to build, $PROFILE the cargo profile.
set -eu

[ -e "$SERVER" ] && exit 0
case "$PROFILE" in
dev) kind=debug time='about 2 minutes' ;;
*) kind=$PROFILE time='about 6 minutes' ;;
esac
echo "Building the $kind server: $time from an empty target directory on two cores, seconds afterwards." >&2
