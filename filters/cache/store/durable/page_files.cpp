#include "filters/cache/store/durable/page_files.hpp"

#include <bit>
#include <utility>

#include "common/hash/xxh3.hpp"

namespace nbdstack {

std::uint64_t checksum_of(std::span<const std::byte> bytes, std::uint64_t seed) {
  return xxh3_64(bytes, seed);
}

std::uint64_t combined(std::span<const std::uint64_t> checksums) {
  std::uint64_t sum = 0;
  for (const std::uint64_t checksum : checksums) sum ^= checksum;
  return sum;
}

PageFiles::PageFiles(Directory& directory, std::uint32_t block_size,
                     std::shared_ptr<const UnitCipher> cipher)
    : block_size_(block_size),
      pages_(block_size),
      cipher_(std::move(cipher)),
      files_{directory.open("data"), directory.open("data2")} {
  for (std::size_t i = 0; i < files_.size(); ++i) ends_.at(i) = files_.at(i)->size_bytes();
}

// A page of zeros with a correct checksum may have been recovered behind the end of a file.
// Querying the file's size each time would cost as much as reading.
void PageFiles::read_stored(Slot slot, std::span<std::byte> buffer, std::uint32_t offset,
                            PageMask copies) const {
  const std::uint32_t begin = offset;
  pages_.for_each_part(offset, static_cast<std::uint32_t>(buffer.size()), copies,
                       [&](std::uint32_t at, std::uint32_t length, bool second) {
                         const std::size_t which = second ? 1 : 0;
                         const auto part = buffer.subspan(at - begin, length);
                         const std::uint64_t from = position(slot) + at;
                         if (from + length <= ends_.at(which)) {
                           files_.at(which)->read_at(part, from);
                         } else {
                           read_padded(*files_.at(which), part, from);
                         }
                       });
}

// The units are inside a block, and so inside its slot: a block is whole units.
void PageFiles::read_encrypted(Slot slot, std::span<std::byte> buffer, std::uint32_t offset,
                               PageMask copies) const {
  UnitCipher::read_any(buffer, offset, [&](std::span<std::byte> units, std::uint64_t from) {
    read_stored(slot, units, static_cast<std::uint32_t>(from), copies);
    decrypt_at(slot, units, static_cast<std::uint32_t>(from), copies);
  });
}

void PageFiles::decrypt_at(Slot slot, std::span<std::byte> bytes, std::uint32_t offset,
                           PageMask copies) const {
  pages_.for_each_part(offset, static_cast<std::uint32_t>(bytes.size()), copies,
                       [&](std::uint32_t at, std::uint32_t length, bool second) {
                         cipher_->decrypt(bytes.subspan(at - offset, length),
                                          place(slot, at, second));
                       });
}

void PageFiles::decrypt(Slot slot, std::span<std::byte> bytes, unsigned first,
                        PageMask copies) const {
  decrypt_at(slot, bytes, pages_.offset_of(first), copies);
}

void PageFiles::encrypt(Slot slot, std::span<const std::byte> content, unsigned first,
                        PageMask copies, std::span<std::byte> stored) const {
  const std::uint32_t begin = pages_.offset_of(first);
  pages_.for_each_part(begin, static_cast<std::uint32_t>(content.size()), copies,
                       [&](std::uint32_t at, std::uint32_t length, bool second) {
                         cipher_->encrypt(content.subspan(at - begin, length),
                                          place(slot, at, second),
                                          stored.subspan(at - begin, length));
                       });
}

void PageFiles::write(Slot slot, std::span<const std::byte> data, unsigned first, PageMask copies) {
  const std::uint32_t begin = pages_.offset_of(first);
  pages_.for_each_part(
      begin, static_cast<std::uint32_t>(data.size()), copies,
      [&](std::uint32_t at, std::uint32_t length, bool second) {
        const std::size_t which = second ? 1 : 0;
        const std::uint64_t from = position(slot) + at;
        files_.at(which)->write_at(data.subspan(at - begin, length), from);
        std::uint64_t end = ends_.at(which);
        while (end < from + length && !ends_.at(which).compare_exchange_weak(end, from + length)) {
        }
      });
}

std::vector<std::uint64_t> PageFiles::checksums(Slot slot, PageMask pages, PageMask copies) const {
  std::vector<std::uint64_t> result;
  result.reserve(static_cast<std::size_t>(std::popcount(pages)));
  for_each_page_run(pages, [&](unsigned first, unsigned count) {
    std::vector<std::byte> content(std::size_t{count} * pages_.page_size());
    pages_.for_each_part(pages_.offset_of(first), static_cast<std::uint32_t>(content.size()),
                         copies, [&](std::uint32_t at, std::uint32_t length, bool second) {
                           read_padded(
                               *files_.at(second ? 1 : 0),
                               std::span(content).subspan(at - pages_.offset_of(first), length),
                               position(slot) + at);
                         });
    const auto some = checksums(content, first);
    result.insert(result.end(), some.begin(), some.end());
  });
  return result;
}

std::vector<std::uint64_t> PageFiles::checksums(std::span<const std::byte> data,
                                                unsigned first) const {
  std::vector<std::uint64_t> result;
  for (unsigned page = first; !data.empty(); ++page) {
    result.push_back(checksum_of(data.first(pages_.page_size()), page));
    data = data.subspan(pages_.page_size());
  }
  return result;
}

void PageFiles::punch(Slot slot, bool second) {
  files_.at(second ? 1 : 0)->punch_hole(block_size_, position(slot));
}

void PageFiles::punch_behind(Slot slots) {
  for (const auto& file : files_) {
    const std::uint64_t size = file->size_bytes();
    if (size > position(slots)) file->punch_hole(size - position(slots), position(slots));
  }
}

Slot PageFiles::slots_of(std::size_t which) const {
  const std::uint64_t size_bytes = files_.at(which)->size_bytes();
  const std::uint64_t slots = size_bytes / block_size_ + (size_bytes % block_size_ == 0 ? 0 : 1);
  return static_cast<Slot>(std::min<std::uint64_t>(slots, kNoSlot));
}

}  // namespace nbdstack
