// A filter of nbdkit as a class.
//
// nbdkit calls, in this order:
//
//   constructor        the library is loaded; parameters have their defaults
//   parameters()       called once; parsing writes to the filter's own variables
//   config_complete()  all parameters are set: check how they fit together
//   get_ready()        last call in the foreground: open files, and fail with a message. Afterwards
//                      the server changes its directory, may fork, and drops privileges: files to
//                      be opened again, or made, later must be made by as_server_user()
//   after_fork()       threads may be started from here on, not before: a fork loses them; and the
//                      chain below may be opened, until cleanup() returns. A failure here ends the
//                      start as well, and the process that started the server reports it
//                      (server_start.hpp)
//   open()             per client: returns the filter's layer over the layer below, for one export
//   (requests)         from many threads at once
//   Layer::finalize()  the client leaves; not called if a handshake failed
//   cleanup()          the server stops and the layer below still works: the last moment to write.
//                      Clients that were connected when the server was told to stop have seen
//                      finalize(), but their layer is never destroyed
//   destructor         the plugin has been unloaded already
//
// A method reports failure by throwing Error; the boundary makes it an errno and a line in the log.
// No exception leaves a callback: std::bad_alloc becomes ENOMEM, any unknown one EIO.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/block/open_request.hpp"
#include "common/metrics/registry.hpp"
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

  // Throws Error(EBUSY) if it must not be opened now, see serves_beside_clients().
  virtual std::unique_ptr<Layer> open_default_export() = 0;

  // Returns whether it may be open while a client's is, too. It may not if a layer below serves one
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

 protected:
  // Returns the metrics for the state of this export; they count nothing if metrics are off. Called
  // from get_ready() on; the result is valid until the destructor has returned.
  [[nodiscard]] static Metrics metrics_of_export(const std::string& name);
};

// Owns `filter` for the life of the process and returns the result for nbdkit's filter_init: null,
// which ends the server, if the filter is in the stack already.
nbdkit_filter* register_filter(std::unique_ptr<Filter> filter);

}  // namespace nbdstack

// Stands at the end of NAME.cpp. filter_init and debug flags are the library's only exported
// symbols.
#define NBDSTACK_REGISTER_FILTER(FilterClass)                                                 \
  extern "C" __attribute__((visibility("default"))) struct nbdkit_filter* filter_init(void) { \
    return nbdstack::register_filter(std::make_unique<FilterClass>());                        \
  }
