# The script `nbdkit` that finds our modules by name, and refuses to take nbdkit's own of the same name instead: one for the
# build (build/nbdkit), and one for an installation below another prefix than nbdkit's, which nbdkit does not look into.

# What stands in nbdkit.in: where a module lies ($here is the script's folder, $1 the kind, $2 the name), and what to do when it
# is missing, or when nbdkit has been replaced.
function(nbdstack_write_wrapper script)
  cmake_parse_arguments(PARSE_ARGV 1 WRAPPER "" "MODULE;MISSING;AGAIN" "")
  get_property(OUR_FILTERS GLOBAL PROPERTY NBDSTACK_filterS)
  get_property(OUR_PLUGINS GLOBAL PROPERTY NBDSTACK_pluginS)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/nbdkit.in ${script} @ONLY
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()

# After the last module.
function(nbdstack_make_wrappers)
  nbdstack_write_wrapper(${CMAKE_BINARY_DIR}/nbdkit
    MODULE "$here/$1s/$2/nbdkit-$2-$1.so"
    MISSING "has not been built; build it first (cmake --build $here)"
    AGAIN "configure and build again")
  nbdstack_write_wrapper(${CMAKE_BINARY_DIR}/installed/nbdkit
    MODULE "\${here%/*}/${NBDSTACK_MODULE_DIR}/$1s/nbdkit-$2-$1.so"
    MISSING "is missing; install nbdstack again"
    AGAIN "build and install nbdstack again")
endfunction()
