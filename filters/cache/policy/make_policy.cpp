#include "filters/cache/policy/make_policy.hpp"

#include <memory>

#include "filters/cache/policy/lru_policy.hpp"
#include "filters/cache/policy/protected_policy.hpp"
#include "filters/cache/policy/s3_fifo_policy.hpp"
#include "filters/cache/policy/slot_queue.hpp"

namespace nbdstack {

static_assert((S3FifoPolicy::kMarkBits & ProtectedPolicy::kMarkBits) == 0);

std::unique_ptr<EvictionPolicy> make_eviction_policy(CachePolicy kind,
                                                     std::uint64_t protect_blocks) {
  auto table = std::make_shared<SlotTable>();
  const auto make_part = [&]() -> std::unique_ptr<EvictionPolicy> {
    switch (kind) {
      case CachePolicy::lru:
        return std::make_unique<LruPolicy>(table);
      case CachePolicy::s3fifo:
        return std::make_unique<S3FifoPolicy>(table);
    }
    return nullptr;
  };
  if (protect_blocks == 0) return make_part();
  return std::make_unique<ProtectedPolicy>(protect_blocks, table, make_part(), make_part());
}

}  // namespace nbdstack
