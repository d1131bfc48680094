// An export, read with several requests in flight: the interface between the pass and libnbd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nbdstack {

class ExportReader {
 public:
  struct Outcome {
    std::uint64_t read;   // the number that was passed to start()
    std::string failure;  // empty if the data has come
  };

  ExportReader() = default;
  ExportReader(const ExportReader&) = delete;
  ExportReader& operator=(const ExportReader&) = delete;
  virtual ~ExportReader() = default;

  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Longer reads are allowed, and take several requests.
  [[nodiscard]] virtual std::uint32_t longest_request_bytes() const = 0;

  // Begins a read within the export. `read` is a number of the caller's that no read in flight has;
  // `buffer` stays valid until the outcome has come.
  virtual void start(std::uint64_t read, std::span<std::byte> buffer, std::uint64_t offset) = 0;

  // When this returns, earlier writes have passed all layers. Does nothing if the export cannot
  // flush.
  virtual void flush() = 0;

  // Waits until at least one of the reads in flight has ended. A failure of the export as a whole
  // (a lost connection, a stopping server) is an Error, here and in the other functions.
  virtual std::vector<Outcome> wait() = 0;
};

}  // namespace nbdstack
