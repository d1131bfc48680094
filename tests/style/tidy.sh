#!/bin/sh
# clang-tidy over every source of the product: tidy.sh SOURCE_DIRECTORY BUILD_DIRECTORY
# The build's compile commands are gcc's: what clang does not know, and what gcc has precompiled, is taken out of a copy of them.
set -eu
source=$1
build=$2
commands=$build/tidy
mkdir -p "$commands"
sed -e 's/ -fno-gnu-unique//g' -e 's/ -Winvalid-pch//g' -e 's/ -include [^ ]*cmake_pch\.hxx//g' "$build/compile_commands.json" > "$commands/compile_commands.json"
exec run-clang-tidy -quiet -p "$commands" "$source/(common|filters|plugins)/.*\\.cpp$"
