// A filter of nbdkit as a class.
//
// The life of one, as nbdkit drives it:
//
//   constructor        the library is loaded; parameters hold their defaults
//   parameters()       asked once; parsing writes to the filter's own variables
//   config_complete()  all parameters are set: check how they fit together
//   get_ready()        last call in the foreground: open files, and fail with a message. Afterwards
//                      the server changes its directory, may fork, and drops privileges: what has to
//                      be opened again, or made, then is to be made by as_server_user()
//   after_fork()       threads may be started from here on, not before: a fork loses them; and the
//                      chain below may be opened, until cleanup() returns. What fails here ends
//                      the start as well, and whoever started the server is told (server_start.hpp)
//   open()             per client: the layer that this filter is over the layer below, for one
//                      export
//   (requests)         from many threads at once
//   Layer::finalize()  the client leaves; skipped when a handshake failed
//   cleanup()          the server stops and the layer below still works: the last moment to write
//                      anything. Clients that were connected when the server was told to stop have
//                      seen finalize(), but their layer is never destroyed
//   destructor         the plugin is gone already
//
// A method reports failure by throwing Error; the boundary makes it an errno and a line in the log.
// Nothing else leaves a callback: std::bad_alloc becomes ENOMEM, anything unknown EIO.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/block/open_request.hpp"
#include "common/params/parameters.hpp"

struct nbdkit_filter;

namespace nbdstack {

// The chain below this filter, to open its default export outside any client's connection.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // Throws Error(EBUSY) where it must not be opened now, see serves_beside_clients().
  virtual std::unique_ptr<Layer> open_default_export() = 0;

  // Whether that may be open while a client's is, too. Not where something below serves one
  // connection at a time (nbdkit's thread model SERIALIZE_CONNECTIONS): nbdkit's ext2 filter, for
  // one, would open its file system twice, and destroy it.
  [[nodiscard]] virtual bool serves_beside_clients() const = 0;
};

struct FilterInfo {
  const char* name;      // no '-': debug flags are C identifiers that begin with it
  const char* longname;  // "nbdstack ... filter"
  const char* description;
};

class Filter {
 public:
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  virtual ~Filter() = default;

  [[nodiscard]] virtual FilterInfo info() const = 0;
  virtual ParameterTable parameters() = 0;
  virtual void config_complete() {}
  virtual void get_ready() {}
  // `backend` is valid until cleanup() has returned.
  virtual void after_fork(Backend& /*backend*/) {}
  virtual std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) = 0;
  virtual void cleanup(Backend& /*backend*/) {}
};

// Takes over `filter` for the life of the process and returns what nbdkit's filter_init has to
// return: nothing, and the server ends, where the filter is in the stack already.
nbdkit_filter* register_filter(std::unique_ptr<Filter> filter);

}  // namespace nbdstack

// At the end of NAME.cpp. filter_init and debug flags are the only symbols that the library
// exports.
#define NBDSTACK_REGISTER_FILTER(FilterClass)                                                 \
  extern "C" __attribute__((visibility("default"))) struct nbdkit_filter* filter_init(void) { \
    return nbdstack::register_filter(std::make_unique<FilterClass>());                        \
  }
