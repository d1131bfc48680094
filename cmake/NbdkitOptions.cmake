# The options of the nbdkit that is installed, for build/nbdkit (nbdkit.in) and for common/nbdkit/server_options.cpp. Both read
# nbdkit's command line, and must take the same words for values as nbdkit does.

# Runs nbdkit with one option and no plugin, which serves nothing: sets `answer` to whether the output has this text.
function(nbdstack_ask_nbdkit option text answer)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${NBDKIT_EXECUTABLE} ${option}
    OUTPUT_VARIABLE said ERROR_VARIABLE said INPUT_FILE /dev/null)
  string(FIND "${said}" "${text}" place)
  if(place EQUAL -1)
    set(${answer} FALSE PARENT_SCOPE)
  else()
    set(${answer} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Sets `shortcuts` to the names that nbdkit understands as one option though several begin like that, because those mean the
# same: --read for --read-only and --readonly. getopt(1) cannot know what means the same, and needs them as names.
function(nbdstack_read_shortcuts names shortcuts)
  set(tried "")
  set(found "")
  foreach(name IN LISTS names)
    string(REGEX REPLACE ":$" "" plain "${name}")
    string(LENGTH "${plain}" length)
    foreach(count RANGE 1 ${length})
      string(SUBSTRING "${plain}" 0 ${count} shortcut)
      set(alike ${names})
      list(FILTER alike INCLUDE REGEX "^${shortcut}")
      list(LENGTH alike meant)
      if(meant EQUAL 1 OR shortcut IN_LIST tried OR shortcut IN_LIST names OR "${shortcut}:" IN_LIST names)
        continue()
      endif()
      list(APPEND tried ${shortcut})
      nbdstack_ask_nbdkit(--${shortcut} "is ambiguous" ambiguous)
      if(NOT ambiguous)
        string(REPLACE "${plain}" "${shortcut}" shortcut "${name}")  # with its ':'
        list(APPEND found ${shortcut})
      endif()
    endforeach()
  endforeach()
  set(${shortcuts} "${found}" PARENT_SCOPE)
endfunction()

# The options of the nbdkit that is installed, as getopt(1) reads them: NBDKIT_LETTERS, NBDKIT_NAMES; and as nbdkit lists
# them: NBDKIT_OPTIONS. The list does not tell which of them have a value: nbdkit refuses a letter without its value, and a
# name with a value that it does not have.
function(nbdstack_read_options)
  execute_process(COMMAND ${NBDKIT_EXECUTABLE} --short-options OUTPUT_VARIABLE short COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${NBDKIT_EXECUTABLE} --long-options OUTPUT_VARIABLE long COMMAND_ERROR_IS_FATAL ANY)
  string(STRIP "${short}${long}" options)
  set(NBDKIT_OPTIONS "${options}" PARENT_SCOPE)
  set(letters "")
  set(names long-options short-options)  # nbdkit does not list these two
  string(REPLACE "\n" ";" options "${options}")
  foreach(option IN LISTS options)
    if(option MATCHES "^--(.+)")
      set(name ${CMAKE_MATCH_1})
      nbdstack_ask_nbdkit(${option}= "doesn't allow an argument" refuses_value)
      if(NOT refuses_value)
        string(APPEND name ":")
      endif()
      list(APPEND names ${name})
    elseif(option MATCHES "^-(.)")
      string(APPEND letters "${CMAKE_MATCH_1}")
      nbdstack_ask_nbdkit(${option} "requires an argument" wants_value)
      if(wants_value)
        string(APPEND letters ":")
      endif()
    endif()
  endforeach()
  nbdstack_read_shortcuts("${names}" shortcuts)
  list(JOIN names "," names)
  list(JOIN shortcuts "," shortcuts)
  set(NBDKIT_LETTERS "${letters}" PARENT_SCOPE)
  set(NBDKIT_NAMES ",${names},${shortcuts}," PARENT_SCOPE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${NBDKIT_EXECUTABLE})
endfunction()

nbdstack_read_options()
