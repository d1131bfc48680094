#include "filters/md5/parallel_md5.hpp"

#include <algorithm>
#include <cstdint>

namespace nbdstack {
namespace {

// Waking a thread costs some 10 microseconds, the digest of this some 100.
constexpr std::size_t kWorthAThread_bytes = 64U << 10U;

// Returns how many pieces to cut the work into, at most `count`.
std::size_t shares(std::size_t size_bytes, std::size_t count) {
  return std::min({size_bytes / kWorthAThread_bytes, count, std::size_t{8}});
}

// Works on the share `index` of `of` in 0 ... count - 1.
void for_share(std::size_t index, std::size_t of, std::size_t count,
               const std::function<void(std::size_t)>& body) {
  for (std::size_t i = count * index / of; i < count * (index + 1) / of; ++i) body(i);
}

}  // namespace

std::vector<Md5Digest> md5_of_each(const std::vector<std::span<std::byte>>& blocks,
                                   WorkerPool& pool) {
  std::vector<Md5Digest> digests(blocks.size());
  std::size_t size_bytes = 0;
  for (const auto& block : blocks) size_bytes += block.size();
  const auto digest = [&](std::size_t i) { digests[i] = md5(blocks[i]); };
  const std::size_t of = std::max<std::size_t>(shares(size_bytes, blocks.size()), 1);
  const auto share = [&](std::size_t index) { for_share(index, of, blocks.size(), digest); };
  if (of == 1) {
    share(0);
  } else {
    pool.run(of, share);
  }
  return digests;
}

void hash_beside(WorkerPool& pool, std::size_t size_bytes, std::size_t count,
                 const std::function<void(std::size_t)>& digest,
                 const std::function<void()>& work) {
  const std::size_t of = shares(size_bytes, count);
  if (of == 0) {
    for_share(0, 1, count, digest);
    work();
    return;
  }
  pool.run_beside(work, of, [&](std::size_t index) { for_share(index, of, count, digest); });
}

}  // namespace nbdstack
