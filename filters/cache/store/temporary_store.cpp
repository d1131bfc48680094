#include "filters/cache/store/temporary_store.hpp"

#include <unistd.h>

#include <cstring>
#include <vector>

#include "common/invariant.hpp"

namespace nbdstack {
namespace {

// The share of the machine's memory.
constexpr std::uint64_t kWindowPart = 4;

// Copies of more than this gain nothing over a system call.
constexpr std::size_t kLargestCopy_bytes = 16U << 10U;

std::uint64_t memory_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_size = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_size <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_size);
}

}  // namespace

TemporaryStore::TemporaryStore(const std::string& directory, std::uint32_t block_size)
    : file_(File::temporary(directory, "nbdstack-cache")),
      block_size_(block_size),
      pages_(block_size),
      window_(file_, memory_bytes() / kWindowPart / block_size * block_size) {}

// A slot that was used before contains bytes of another block: the unwritten part of a new page has
// to become zeros.
WriteReceipt TemporaryStore::write(Slot slot, std::span<const std::byte> data,
                                   std::uint32_t offset_in_block, PageMask stored) {
  const auto length = static_cast<std::uint32_t>(data.size());
  INVARIANT(offset_in_block + data.size() <= block_size_, slot, offset_in_block, data.size());
  const PageMask touched = pages_.touched(offset_in_block, length);
  const PageMask partial = touched & ~pages_.covered(offset_in_block, length, block_size_);
  WriteReceipt result{.pages = touched};
  const std::uint64_t at = position(slot) + offset_in_block;
  if ((touched & ~stored) == 0 && length <= kLargestCopy_bytes && window_.contains(at, length)) {
    window_.write_at(data, at);
    return result;
  }
  if ((partial & ~stored) == 0) {
    file_.write_at(data, at);
    return result;
  }
  const unsigned first = pages_.page_at(offset_in_block);
  const unsigned last = pages_.page_at(offset_in_block + length - 1);
  const bool keep_head = (stored & page_run(first, 1)) != 0;
  const bool keep_tail = (stored & page_run(last, 1)) != 0;
  const std::uint32_t begin = keep_head ? offset_in_block : pages_.offset_of(first);
  const std::uint32_t end = keep_tail ? offset_in_block + length : pages_.offset_of(last + 1);
  std::vector<std::byte> whole(end - begin);
  std::memcpy(whole.data() + (offset_in_block - begin), data.data(), data.size());
  file_.write_at(whole, position(slot) + begin);
  return result;
}

}  // namespace nbdstack
