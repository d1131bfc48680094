// The parameter request-log=: a line for each request that the plugin answers, with the requests to
// the service that were made for it.
//
//   2026-03-01T12:00:00.000250Z export='' kind=read offset=65536 length=4096 ms=23.120 result=0
//       s3=[GetObject 'vol/0000000000000001' code=206 bytes=4096 ms=22.907]
//
// (That is one line.) It is about the plugin's requests: a filter above may have answered a client
// itself, or have asked for more than the client wanted. Requests to the service that no client
// waits for, such as the lease's, are not shown. nbdkit's own log filter does the same for the
// requests of its clients, wherever it stands in the stack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/fault/fault.hpp"
#include "common/io/file.hpp"

namespace nbdstack {

// Appends lines to a file, which may be cut (copytruncate) or grow by other writers. Any thread.
class RequestLog {
 public:
  // Throws Error if the file cannot be opened or made.
  explicit RequestLog(const std::string& path);

  // Writes a line whole, or tells the log once that it cannot.
  void write(const std::string& line) noexcept;

 private:
  File file_;
  Fault fault_{"writes of request-log"};
};

// Returns a layer that logs each request to `below`. `log` outlives it.
std::unique_ptr<Layer> logged(std::unique_ptr<Layer> below, RequestLog& log,
                              const std::string& export_name);

}  // namespace nbdstack
