# cmake -D OUTPUT=FILE -P known_parameters.cmake: the parameters that the man pages of the layers have an item for, as the table of
# common/params/known_parameters.hpp.
file(GLOB pages ${CMAKE_CURRENT_LIST_DIR}/../man/nbdkit-*-filter.pod)
set(rows "")
foreach(page IN LISTS pages ITEMS ${CMAKE_CURRENT_LIST_DIR}/../man/nbdkit-s3-plugin.pod)
  string(REGEX MATCH "nbdkit-([a-z0-9]+)-(filter|plugin)\\.pod$" matched "${page}")
  set(layer "\"${CMAKE_MATCH_1}\", \"${CMAKE_MATCH_2}\"")
  file(READ "${page}" text)
  string(REGEX REPLACE "[][;]" "" text "${text}")  # what has a meaning in a list
  string(REGEX MATCHALL "\n=item B<[a-z0-9-]+=" items "${text}")
  list(REMOVE_DUPLICATES items)  # one item for each value of some
  foreach(item IN LISTS items)
    string(REGEX REPLACE "\n=item B<(.*)=" "    {${layer}, \"\\1\"},\n" row "${item}")
    string(APPEND rows "${row}")
  endforeach()
endforeach()
# Written only if it is another, so that other changes of a man page compile nothing.
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT "// Made by cmake/known_parameters.cmake from the man pages.
#include \"common/params/known_parameters.hpp\"

#include <array>

namespace nbdstack {
namespace {

constexpr auto kRows = std::to_array<KnownParameter>({
${rows}});

}  // namespace

const std::span<const KnownParameter> kKnownParameters = kRows;

}  // namespace nbdstack
" @ONLY)
