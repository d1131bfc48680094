# Reading the standard library's headers is most of the work of compiling a file: they are read once for all targets, which
# are all compiled alike. Every file includes what it uses all the same.
function(nbdstack_precompile target)
  if(NOT target STREQUAL nbdstack-common)
    target_precompile_headers(${target} REUSE_FROM nbdstack-common)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE
    <algorithm> <chrono> <condition_variable> <fmt/format.h> <functional> <map> <memory> <mutex> <optional> <random>
    <span> <string> <string_view> <thread> <utility> <vector>)
endfunction()
