#include "filters/cacheextents/cacheextents_layer.hpp"

#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

void CacheextentsLayer::end_change(KnownExtents::Change& change, KnownExtents::Left left) {
  change.succeeded(trusts_memory() ? left : KnownExtents::Left::unknown);
}

void CacheextentsLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                               Durability durability) {
  KnownExtents::Change change(shared_->known, {offset, buffer.size()});
  below().pwrite(buffer, offset, durability);
  end_change(change, KnownExtents::Left::data);
}

void CacheextentsLayer::zero(std::uint64_t length, std::uint64_t offset,
                             const ZeroOptions& options) {
  KnownExtents::Change change(shared_->known, {offset, length});
  below().zero(length, offset, options);
  end_change(change, options.may_trim ? KnownExtents::Left::unknown : KnownExtents::Left::zeros);
}

void CacheextentsLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  KnownExtents::Change change(shared_->known, {offset, length});
  below().trim(length, offset, durability);
  end_change(change, KnownExtents::Left::unknown);
}

void CacheextentsLayer::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                                ExtentList& extents) {
  if (!trusts_memory()) {
    below().extents(length, offset, only_one, extents);
    return;
  }
  const Range asked{offset, length};
  auto answer = shared_->known.look(asked, traits().size_bytes, only_one);
  if (answer.question) {
    answer.extents = ask(answer.question->range(), asked, only_one);
    if (trusts_memory()) answer.question->learn(answer.extents);
  }
  for (const Extent& extent : answer.extents.all()) {
    extents.append(asked.intersection(extent.range), extent.type);
    if (only_one) break;
  }
}

ExtentList CacheextentsLayer::ask(const Range& range, const Range& asked, bool only_one) {
  try {
    ExtentList reply;
    below().extents(range.length, range.offset, false, reply);
    if (verbose_) {
      log::debug("cacheextents: asked about {} bytes at {}: {} extents, to {}", range.length,
                 range.offset, reply.all().size(), reply.end());
    }
    return reply;
  } catch (const Error&) {
    if (range == asked && !only_one) throw;
  }
  log::debug("cacheextents: the layer below refuses to tell of {} bytes at {}: asking for {}",
             range.length, range.offset, asked.length);
  ExtentList reply;
  below().extents(asked.length, asked.offset, only_one, reply);
  return reply;
}

}  // namespace nbdstack
