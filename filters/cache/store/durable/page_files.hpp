// Stores the bytes of the slots in two files with the same addresses: slot n is at n * block_size.
//
// Each page of a slot is in one of the two, according to a bit for each page (`copies`, set: in
// data2). The index decides which one is current (durable_store.hpp); this class only does I/O.
// Files are sparse and always contain whole pages, even the last page of a short last block.
//
// With a cipher (cache-encrypt), the bytes in the files are encrypted for their place: the tweak is
// the file and the position in it (common/crypto/unit_cipher.hpp). "Stored" bytes are those in the
// files; without a cipher these are the content itself.
//
// A checksum of a page is XXH3-64 of its stored bytes, seeded with its number in the block: in the
// journal it reveals no more than the files, and damage is detected without the key. A slot's
// checksum is the XOR of its stored pages', so that one can change without reading the others.
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

  // Reads content. Bytes that were never written are zeros, even behind the end of a file.
  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset, PageMask copies) const {
    if (cipher_ == nullptr) {
      read_stored(slot, buffer, offset, copies);
    } else {
      read_encrypted(slot, buffer, offset, copies);
    }
  }
  void read_stored(Slot slot, std::span<std::byte> buffer, std::uint32_t offset,
                   PageMask copies) const;
  // Writes stored bytes of whole pages, from `first` on.
  void write(Slot slot, std::span<const std::byte> data, unsigned first, PageMask copies);
  // Convert between the content of whole pages and their stored bytes; only with a cipher.
  void encrypt(Slot slot, std::span<const std::byte> content, unsigned first, PageMask copies,
               std::span<std::byte> stored) const;
  void decrypt(Slot slot, std::span<std::byte> bytes, unsigned first, PageMask copies) const;
  // Returns the checksums of stored bytes, for each page of the mask in ascending order.
  [[nodiscard]] std::vector<std::uint64_t> checksums(Slot slot, PageMask pages,
                                                     PageMask copies) const;
  // Returns those of whole pages in memory, from `first` on, in their stored form.
  [[nodiscard]] std::vector<std::uint64_t> checksums(std::span<const std::byte> data,
                                                     unsigned first) const;
  void sync_first() { files_[0]->sync_data(); }
  void sync_second() { files_[1]->sync_data(); }
  // Give storage back to the file system.
  void punch(Slot slot, bool second);
  void punch_behind(Slot slots);
  // Returns the number of slots that reach into either file.
  [[nodiscard]] Slot slots() const { return std::max(slots_of(0), slots_of(1)); }
  // Returns the number of slots that reach into data2.
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
