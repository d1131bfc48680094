# Filters and plugins as loadable modules, and the rooms that they are made of. Where build/nbdkit finds modules:
#   build/filters/NAME/nbdkit-NAME-filter.so    build/plugins/NAME/nbdkit-NAME-plugin.so

function(nbdstack_add_module kind name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  set(target nbdkit-${name}-${kind})
  add_library(${target} MODULE ${ARG_SOURCES})
  target_link_libraries(${target} PRIVATE nbdstack-nbdkit ${ARG_LIBRARIES})
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX ".so")
  set(script ${CMAKE_CURRENT_BINARY_DIR}/${target}.map)
  file(GENERATE OUTPUT ${script} CONTENT "{ global: ${kind}_init; ${name}_debug_*; local: *; };\n")
  # nbdkit's own functions are found in the server at run time: undefined symbols are in order here.
  target_link_options(${target} PRIVATE -Wl,--version-script=${script})
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${script})
  set_property(GLOBAL APPEND_STRING PROPERTY NBDSTACK_${kind}S " ${name}")
  nbdstack_install_module(${kind} ${target})
endfunction()

# nbdstack_add_room(NAME SOURCES ... USES ... [HIDES ...]): a library of this folder's files; who links it gets what it USES, too.
function(nbdstack_add_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES;HIDES" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_USES} PRIVATE ${ARG_HIDES})
  nbdstack_precompile(${name})
endfunction()

# nbdstack_add_filter(NAME SOURCES ... LIBRARIES ...)
function(nbdstack_add_filter name)
  nbdstack_add_module(filter ${name} ${ARGN})
endfunction()

# nbdstack_add_plugin(NAME SOURCES ... LIBRARIES ...)
function(nbdstack_add_plugin name)
  nbdstack_add_module(plugin ${name} ${ARGN})
endfunction()
