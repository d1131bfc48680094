// An export that is read with several requests under way: the seam between the pass and libnbd.
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
    std::uint64_t read;   // the number that was given to start()
    std::string failure;  // empty: the data is there
  };

  ExportReader() = default;
  ExportReader(const ExportReader&) = delete;
  ExportReader& operator=(const ExportReader&) = delete;
  virtual ~ExportReader() = default;

  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Longer reads are allowed, and cost several requests.
  [[nodiscard]] virtual std::uint32_t longest_request_bytes() const = 0;

  // Begins a read within the export. `read` is a number of the caller's, none that is under way;
  // `buffer` stays until the outcome is there.
  virtual void start(std::uint64_t read, std::span<std::byte> buffer, std::uint64_t offset) = 0;

  // What was written before is on its way through all layers when this returns. Nothing where the
  // export cannot do it.
  virtual void flush() = 0;

  // Waits until at least one of the reads that are under way has ended. A failure of the export as
  // a whole (a lost connection, a server that stops) is an Error, here and in the others.
  virtual std::vector<Outcome> wait() = 0;
};

}  // namespace nbdstack
