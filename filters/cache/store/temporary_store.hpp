// Stores the content of a cache that ends with the process, in one file of numbered slots.
//
// The file has no name (it vanishes with the server) and is sparse. Its addresses are slots, not
// the disk's own offsets, so that the file is as large as the cached content and a disk of exabytes
// can be cached on any file system.
#pragma once

#include <cstdint>
#include <string>

#include "common/io/file.hpp"
#include "common/io/file_window.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

class TemporaryStore final : public SlotStore {
 public:
  // `directory` is absolute: the server has changed its own before an export is opened.
  TemporaryStore(const std::string& directory, std::uint32_t block_size);

  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) override {
    file_.read_at(buffer, position(slot) + offset_in_block);
  }
  WriteReceipt write(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                     PageMask stored) override;
  void discard(Slot slot) override { file_.punch_hole(block_size_, position(slot)); }

 private:
  [[nodiscard]] std::uint64_t position(Slot slot) const {
    return std::uint64_t{slot} * block_size_;
  }

  const File file_;
  const std::uint32_t block_size_;
  const PageGeometry pages_;
  // So much of the file most likely stays in memory: overwriting it there needs no system call.
  // Elsewhere a copy might have to read the page from the disk first.
  const FileWindow window_;
};

}  // namespace nbdstack
