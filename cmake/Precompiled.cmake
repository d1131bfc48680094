# Reading the standard library's headers is most of the work of compiling a file: they are read once for each target.
# Every file includes what it uses all the same.
function(nbdstack_precompile target)
  target_precompile_headers(${target} PRIVATE
    <algorithm> <chrono> <condition_variable> <fmt/format.h> <functional> <map> <memory> <mutex> <optional> <random>
    <span> <string> <string_view> <thread> <utility> <vector>)
endfunction()
