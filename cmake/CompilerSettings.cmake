# How everything is compiled.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

# nbdkit opens libraries with RTLD_GLOBAL: weak and unique symbols of two of them would be merged by the loader. So nothing
# is visible but what a version script exports (Modules.cmake), and no symbol is unique.
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fno-gnu-unique)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                    -Woverloaded-virtual -Wcast-align -Wunused -Wformat=2 -Wno-missing-field-initializers -Werror)
add_compile_definitions(HAVE_VFPRINTF_PERCENT_M=1)
add_compile_definitions($<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)

# Most of the work of compiling a file goes into the headers it includes: the presets that compile everything compile a dozen
# files as one. The preset `debug`, for those who change things, compiles each by itself.
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # A class of a source file that has members of its own file's types: not wrong because another file includes that one.
  add_compile_options(-Wno-subobject-linkage)
endif()

set(NBDSTACK_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(NBDSTACK_SANITIZE)
  # Lines are all that a report needs, and half of the time to build goes into the rest.
  set(CMAKE_CXX_FLAGS_DEBUG "-g1")
  add_compile_options(-fsanitize=${NBDSTACK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1)
  add_link_options(-fsanitize=${NBDSTACK_SANITIZE})
endif()

# For the fuzzers (tests/fuzz): every branch counts, so that libFuzzer sees where an input led to. Clang only.
option(NBDSTACK_FUZZERS "Build the fuzzers, and nothing else of the tests" OFF)
if(NBDSTACK_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
