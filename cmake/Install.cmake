# What `cmake --install` puts where. Modules go to the place below the prefix where nbdkit has its own below its prefix: with
# nbdkit's prefix (on Debian --prefix /usr) plain `nbdkit --filter=cache` finds them. Below any other prefix, of which nbdkit
# knows nothing, bin/nbdkit is added: the wrapper that finds them. Everything is relative, so that DESTDIR and --prefix work.
include(GNUInstallDirs)

nbdstack_nbdkit_config(bindir nbdkit_bin_dir)
nbdstack_nbdkit_config(filterdir nbdkit_filter_dir)
nbdstack_nbdkit_config(plugindir nbdkit_plugin_dir)
cmake_path(GET nbdkit_bin_dir PARENT_PATH NBDKIT_PREFIX)
cmake_path(GET nbdkit_filter_dir PARENT_PATH NBDSTACK_MODULE_DIR)
if(NOT "${nbdkit_filter_dir};${nbdkit_plugin_dir}" STREQUAL "${NBDSTACK_MODULE_DIR}/filters;${NBDSTACK_MODULE_DIR}/plugins")
  message(FATAL_ERROR "${NBDKIT_EXECUTABLE} has its filters in '${nbdkit_filter_dir}' and its plugins in '${nbdkit_plugin_dir}', "
    "not in folders `filters` and `plugins` of one folder: nbdstack does not know how to be installed there")
endif()
cmake_path(RELATIVE_PATH NBDSTACK_MODULE_DIR BASE_DIRECTORY ${NBDKIT_PREFIX})

# Before anything is installed: what a Debian package has put there stays. The next upgrade of nbdkit would bring its own filter
# back without a word, and with it the losses that ours is there to prevent. A package diverts it first (debian/).
install(SCRIPT ${CMAKE_BINARY_DIR}/install_guard.cmake)

# Called for each module by nbdstack_add_module().
function(nbdstack_install_module kind target)
  install(TARGETS ${target} LIBRARY DESTINATION ${NBDSTACK_MODULE_DIR}/${kind}s)
  set_property(GLOBAL APPEND PROPERTY NBDSTACK_MODULES ${kind}s/${target}.so)
endfunction()

# After the last module.
function(nbdstack_write_install_guard)
  get_property(NBDSTACK_MODULES GLOBAL PROPERTY NBDSTACK_MODULES)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/install_guard.cmake.in ${CMAKE_BINARY_DIR}/install_guard.cmake @ONLY)
endfunction()

install(CODE "
  if(NOT CMAKE_INSTALL_PREFIX STREQUAL \"${NBDKIT_PREFIX}\")
    file(INSTALL \"${CMAKE_BINARY_DIR}/installed/nbdkit\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\"
      USE_SOURCE_PERMISSIONS)
  endif()")

install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)

# Units, and what they run: a service manager looks for units below lib of any prefix that it knows.
file(GLOB units CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/systemd/*.service ${PROJECT_SOURCE_DIR}/systemd/*.socket)
install(FILES ${units} DESTINATION lib/systemd/system)
install(PROGRAMS systemd/nbdstack-serve DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES systemd/example.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
