#!/bin/sh
# clang-tidy over every source of the product: tidy.sh SOURCE_DIRECTORY BUILD_DIRECTORY
# The build's compile commands are gcc's: what clang does not know, and what gcc has precompiled, is taken out of a copy of them.
# Where the build compiles several files as one, so does this: most of the time goes into the headers that they share.
set -eu
build=$2
commands=$build/tidy
mkdir -p "$commands"
sed -e 's/ -fno-gnu-unique//g' -e 's/ -Winvalid-pch//g' -e 's/ -Wno-subobject-linkage//g' -e 's/ -include [^ ]*cmake_pch\.hxx//g' "$build/compile_commands.json" > "$commands/compile_commands.json"
exec run-clang-tidy -quiet -config "$(cat "$1/.clang-tidy")" -p "$commands" '/(common|filters|plugins|tools)/.*\.c(pp|xx)$'
