// A file that is only read: it may belong to another user, be in use, or lie on a read-only disk.
#pragma once

#include <cstdint>
#include <string>

#include "common/io/directory.hpp"
#include "common/io/file.hpp"

namespace nbdstack {

class ReadOnlyFile final : public StorageFile {
 public:
  explicit ReadOnlyFile(const std::string& path);

  // Returns where data begins, from `offset` on, skipping holes. Returns the end of the file, or a
  // place behind it, if there is no more; `offset` itself on file systems without holes.
  [[nodiscard]] std::uint64_t next_data(std::uint64_t offset) const;

  [[nodiscard]] const std::string& path() const override { return file_.path(); }
  [[nodiscard]] std::uint64_t size_bytes() const override { return file_.size_bytes(); }
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
    file_.read_at(buffer, offset);
  }
  // Writing functions throw Error(EBADF).
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override;
  void punch_hole(std::uint64_t length, std::uint64_t offset) override;
  void sync_data() override;

 private:
  [[noreturn]] void refuse() const;

  File file_;
};

}  // namespace nbdstack
