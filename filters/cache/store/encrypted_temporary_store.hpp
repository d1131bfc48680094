// A TemporaryStore whose file is encrypted: cache-encrypt without cache-dir.
//
// The key is random, and exists only as long as this object: the remains of the file are noise,
// wherever its blocks are reused. Each unit of 4 KiB is encrypted for its place in the file
// (common/crypto/unit_cipher.hpp), and units are read and written whole.
#pragma once

#include <cstdint>
#include <string>

#include "common/crypto/unit_cipher.hpp"
#include "filters/cache/store/slot_store.hpp"
#include "filters/cache/store/temporary_store.hpp"

namespace nbdstack {

class EncryptedTemporaryStore final : public SlotStore {
 public:
  // `directory` is absolute.
  EncryptedTemporaryStore(const std::string& directory, std::uint32_t block_size);

  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) override;
  WriteReceipt write(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                     PageMask stored) override;
  void discard(Slot slot) override { file_.discard(slot); }

 private:
  [[nodiscard]] UnitCipher::Place place(Slot slot, std::uint64_t offset_in_block) const {
    return {.position = std::uint64_t{slot} * block_size_ + offset_in_block};
  }
  // Whole units.
  void read_units(Slot slot, std::span<std::byte> units, std::uint64_t offset_in_block);

  TemporaryStore file_;
  const std::uint32_t block_size_;
  const PageGeometry pages_;
  const UnitCipher cipher_;
};

}  // namespace nbdstack
