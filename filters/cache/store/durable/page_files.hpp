// The bytes of the slots: two files with the same addresses, slot n at n * block_size.
//
// Each page of a slot lies in one of the two: a bit for each page tells which (`copies`, set: in
// data2). Which one is in force is the index's knowledge (durable_store.hpp); here is only I/O.
// Files are sparse and always hold whole pages: the last page of a short last block, too.
//
// With a cipher (cache-encrypt), what lies in the files is encrypted for its place: the tweak names
// the file and the position in it (common/crypto/unit_cipher.hpp). "Stored" bytes are those that
// lie in the files; without a cipher these are the content itself.
//
// The checksum of a page is XXH3-64 of its stored bytes, seeded with its number in the block: so it
// lies in the journal in the clear and says no more than they do, and damage is found without the
// key. That of a slot is the XOR of its stored pages': pages come and go without a look at the others.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/crypto/unit_cipher.hpp"
#include "common/io/directory.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

class PageFiles {
 public:
  PageFiles(Directory& directory, std::uint32_t block_size,
            std::shared_ptr<const UnitCipher> cipher = nullptr);

  [[nodiscard]] const PageGeometry& pages() const { return pages_; }

  [[nodiscard]] bool is_encrypted() const { return cipher_ != nullptr; }

  // The content. What was never written is zeros, even behind the end of a file.
  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset, PageMask copies) const {
    if (cipher_ == nullptr) {
      read_stored(slot, buffer, offset, copies);
    } else {
      read_encrypted(slot, buffer, offset, copies);
    }
  }
  void read_stored(Slot slot, std::span<std::byte> buffer, std::uint32_t offset,
                   PageMask copies) const;
  // Stored bytes of whole pages, from `first` on.
  void write(Slot slot, std::span<const std::byte> data, unsigned first, PageMask copies);
  // Between the content of whole pages and their stored bytes; only with a cipher.
  void encrypt(Slot slot, std::span<const std::byte> content, unsigned first, PageMask copies,
               std::span<std::byte> stored) const;
  void decrypt(Slot slot, std::span<std::byte> bytes, unsigned first, PageMask copies) const;
  // The checksums of what lies in the files, for each page of the mask in ascending order.
  [[nodiscard]] std::vector<std::uint64_t> checksums(Slot slot, PageMask pages,
                                                     PageMask copies) const;
  // Those of whole pages in memory, from `first` on, as they are stored.
  [[nodiscard]] std::vector<std::uint64_t> checksums(std::span<const std::byte> data,
                                                     unsigned first) const;
  void sync_first() { files_[0]->sync_data(); }
  void sync_second() { files_[1]->sync_data(); }
  // Gives storage back.
  void punch(Slot slot, bool second);
  void punch_behind(Slot slots);
  // How many slots reach into either file.
  [[nodiscard]] Slot slots() const { return std::max(slots_of(0), slots_of(1)); }
  // How many slots reach into data2.
  [[nodiscard]] Slot second_slots() const { return slots_of(1); }

 private:
  void read_encrypted(Slot slot, std::span<std::byte> buffer, std::uint32_t offset,
                      PageMask copies) const;
  void decrypt_at(Slot slot, std::span<std::byte> bytes, std::uint32_t offset,
                  PageMask copies) const;
  [[nodiscard]] Slot slots_of(std::size_t which) const;
  [[nodiscard]] std::uint64_t position(Slot slot) const {
    return std::uint64_t{slot} * block_size_;
  }
  [[nodiscard]] UnitCipher::Place place(Slot slot, std::uint32_t offset, bool second) const {
    return {position(slot) + offset, static_cast<std::uint8_t>(second ? 1 : 0)};
  }

  std::uint32_t block_size_;
  PageGeometry pages_;
  std::shared_ptr<const UnitCipher> cipher_;
  std::array<std::unique_ptr<StorageFile>, 2> files_;
  std::array<std::atomic<std::uint64_t>, 2> ends_{};  // the files are at least that long
};

// XOR of all.
[[nodiscard]] std::uint64_t combined(std::span<const std::uint64_t> checksums);
// XXH3-64.
[[nodiscard]] std::uint64_t checksum_of(std::span<const std::byte> bytes, std::uint64_t seed);

}  // namespace nbdstack
