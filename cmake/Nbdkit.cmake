# nbdkit loads a filter only when it was built against exactly its own version, byte for byte. So the header's version and
# the server's are compared here, where something can be done about it, and not when the first user starts it.
find_program(NBDKIT_EXECUTABLE nbdkit PATHS /usr/sbin /usr/local/sbin)
find_path(NBDKIT_INCLUDE_DIR nbdkit-filter.h)
if(NOT NBDKIT_EXECUTABLE)
  message(FATAL_ERROR "nbdkit was not found. On Debian: apt-get install nbdkit")
endif()
if(NOT NBDKIT_INCLUDE_DIR)
  message(FATAL_ERROR "nbdkit-filter.h was not found. On Debian: apt-get install nbdkit-plugin-dev")
endif()

file(STRINGS ${NBDKIT_INCLUDE_DIR}/nbdkit-version.h version_line REGEX "define NBDKIT_VERSION_STRING")
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" NBDKIT_HEADER_VERSION "${version_line}")
execute_process(COMMAND ${NBDKIT_EXECUTABLE} --dump-config OUTPUT_VARIABLE nbdkit_config
                COMMAND_ERROR_IS_FATAL ANY)

# Sets `value` to what this nbdkit says of itself under that name.
function(nbdstack_nbdkit_config name value)
  string(REGEX MATCH "(^|\n)${name}=([^\n]*)" unused "${nbdkit_config}")
  set(${value} "${CMAKE_MATCH_2}" PARENT_SCOPE)
endfunction()

nbdstack_nbdkit_config(version NBDKIT_SERVER_VERSION)
if(NOT NBDKIT_HEADER_VERSION STREQUAL NBDKIT_SERVER_VERSION)
  message(FATAL_ERROR
    "${NBDKIT_EXECUTABLE} is version ${NBDKIT_SERVER_VERSION}, but its headers in ${NBDKIT_INCLUDE_DIR} are version "
    "${NBDKIT_HEADER_VERSION}: the server would refuse filters built with them. Install nbdkit and nbdkit-plugin-dev of "
    "one version, or name the right ones with -DNBDKIT_EXECUTABLE=... and -DNBDKIT_INCLUDE_DIR=...")
endif()
if(NBDKIT_HEADER_VERSION VERSION_LESS 1.30)
  message(FATAL_ERROR
    "nbdkit ${NBDKIT_HEADER_VERSION} was found, but nbdstack needs 1.30 or later. Name another one with "
    "-DNBDKIT_EXECUTABLE=... and -DNBDKIT_INCLUDE_DIR=...")
endif()
message(STATUS "nbdkit ${NBDKIT_SERVER_VERSION}: ${NBDKIT_EXECUTABLE}")
