#!/usr/bin/env bash
# Run a command where there is no C or C++ compiler, nor an operator that one has made before.
set -euo pipefail
hidden=$(mktemp -d)
trap 'rm -rf "$hidden"' EXIT
mkdir "$hidden/bin" "$hidden/cache"
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
	for program in "$folder"/*; do
		name=${program##*/}
		case $name in
		*g++* | *gcc* | *clang* | cc | c++ | c89* | c99*) ;;
		*) [ -e "$hidden/bin/$name" ] || ln -s "$(realpath -s "$program")" "$hidden/bin/$name" ;;
		esac
	done
done
unset CC CXX
PATH="$hidden/bin" CONV_POOL_CACHE="$hidden/cache" "$@"
