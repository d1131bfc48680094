// MD5 of many blocks on several threads. One thread computes some 600 MB/s.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "common/hash/digest.hpp"
#include "common/sync/worker_pool.hpp"

namespace nbdstack {

std::vector<Md5Digest> md5_of_each(const std::vector<std::span<std::byte>>& blocks,
                                   WorkerPool& pool);

// Calls digest(0) ... digest(count - 1), and `work` once on the caller's thread: in parallel if
// `size_bytes`, the size of all blocks, is worth waking a thread, otherwise the digests first. If
// work() throws, so does this, after the digests that have begun.
void hash_beside(WorkerPool& pool, std::size_t size_bytes, std::size_t count,
                 const std::function<void(std::size_t)>& digest, const std::function<void()>& work);

}  // namespace nbdstack
