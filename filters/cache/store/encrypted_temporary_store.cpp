#include "filters/cache/store/encrypted_temporary_store.hpp"

#include <cstring>
#include <vector>

namespace nbdstack {

EncryptedTemporaryStore::EncryptedTemporaryStore(const std::string& directory,
                                                 std::uint32_t block_size)
    : file_(directory, block_size),
      block_size_(block_size),
      pages_(block_size),
      cipher_(SecretKey::random()) {}

void EncryptedTemporaryStore::read_units(Slot slot, std::span<std::byte> units,
                                         std::uint64_t offset_in_block) {
  file_.read(slot, units, static_cast<std::uint32_t>(offset_in_block));
  cipher_.decrypt(units, place(slot, offset_in_block));
}

void EncryptedTemporaryStore::read(Slot slot, std::span<std::byte> buffer,
                                   std::uint32_t offset_in_block) {
  UnitCipher::read_any(buffer, offset_in_block,
                       [this, slot](std::span<std::byte> units, std::uint64_t from) {
                         read_units(slot, units, from);
                       });
}

// A new page is written whole, with zeros around the data: a slot that was used before contains
// bytes of another block. In a stored page only the units with data are written.
WriteReceipt EncryptedTemporaryStore::write(Slot slot, std::span<const std::byte> data,
                                            std::uint32_t offset_in_block, PageMask stored) {
  constexpr std::size_t kUnit_bytes = UnitCipher::kUnit_bytes;
  const std::uint32_t data_end = offset_in_block + static_cast<std::uint32_t>(data.size());
  const unsigned first = pages_.page_at(offset_in_block);
  const unsigned last = pages_.page_at(data_end - 1);
  const bool keep_head = (stored & page_run(first, 1)) != 0;
  const bool keep_tail = (stored & page_run(last, 1)) != 0;
  const std::uint64_t begin =
      keep_head ? UnitCipher::floor(offset_in_block) : pages_.offset_of(first);
  const std::uint64_t end = keep_tail ? UnitCipher::ceil(data_end) : pages_.offset_of(last + 1);
  std::vector<std::byte> units(end - begin);
  if (units.size() == data.size()) {
    cipher_.encrypt(data, place(slot, begin), units);
  } else {
    if (keep_head && begin != offset_in_block) {
      read_units(slot, std::span(units).first(kUnit_bytes), begin);
    }
    if (keep_tail && end != data_end) {
      read_units(slot, std::span(units).last(kUnit_bytes), end - kUnit_bytes);
    }
    std::memcpy(&units[offset_in_block - begin], data.data(), data.size());
    cipher_.encrypt(units, place(slot, begin), units);
  }
  return file_.write(slot, units, static_cast<std::uint32_t>(begin), stored);
}

}  // namespace nbdstack
