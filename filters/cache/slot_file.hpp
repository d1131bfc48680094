// The cache's file: numbered slots of one block each.
//
// The file has no name (it is gone with the server) and is sparse. Slots and not the disk's own
// offsets, so that the file is as large as what is cached and a disk of exabytes can be cached on
// any file system. Who may read or write which slot when is the owner's business; nothing is locked
// here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/io/file.hpp"
#include "filters/cache/slot_list.hpp"

namespace nbdstack {

class SlotFile {
 public:
  // `directory` is absolute: the server has left its own by the time an export is opened.
  SlotFile(const std::string& directory, std::uint32_t block_size)
      : file_(File::temporary(directory, "nbdstack-cache")), block_size_(block_size) {}

  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) const {
    file_.read_at(buffer, position(slot) + offset_in_block);
  }
  void write(Slot slot, std::span<const std::byte> buffer, std::uint32_t offset_in_block) const {
    file_.write_at(buffer, position(slot) + offset_in_block);
  }
  // Gives the slot's storage back to the file system.
  void discard(Slot slot) const { file_.punch_hole(block_size_, position(slot)); }

 private:
  [[nodiscard]] std::uint64_t position(Slot slot) const {
    return std::uint64_t{slot} * block_size_;
  }

  File file_;
  std::uint32_t block_size_;
};

}  // namespace nbdstack
