#include "filters/cacheextents/cacheextents_layer.hpp"

#include <utility>

#include "common/block/expect_on_disk.hpp"
#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

void CacheextentsState::start_scan(std::string name, OwnBelow::Open open_below) {
  auto step = [this](Layer& below, std::uint64_t position) {
    auto answer = known.look({position, size_bytes - position}, size_bytes, false);
    if (!answer.query) return answer.extents.end();
    ExtentList reply;
    const Range range = answer.query->range();
    below.extents(range.length, range.offset, false, reply);
    answer.query->learn(reply.all());
    return reply.end();
  };
  scan = std::make_unique<ExtentScan>(
      ExtentScan::Settings{.name = std::move(name), .size_bytes = size_bytes}, known,
      std::make_unique<OwnBelow>(std::move(open_below), clients), std::move(step));
}

void CacheextentsLayer::end_change(KnownExtents::Change& change,
                                   std::span<const KnownExtents::Content> contents) {
  if (trusts_memory()) change.commit(contents);
}

void CacheextentsLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                               Durability durability) {
  const Range range{offset, buffer.size()};
  expect_on_disk(range, shared_->size_bytes);
  auto change = shared_->known.change(range);
  below().pwrite(buffer, offset, durability);
  end_change(change, {});  // stays data
}

void CacheextentsLayer::zero(std::uint64_t length, std::uint64_t offset,
                             const ZeroOptions& options) {
  const Range range{offset, length};
  expect_on_disk(range, shared_->size_bytes);
  auto change = shared_->known.change(range);
  below().zero(length, offset, options);
  const KnownExtents::Content zeros{range, ExtentType{.hole = false, .zero = true}};
  if (!options.may_trim) end_change(change, {&zeros, 1});
}

void CacheextentsLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  const Range range{offset, length};
  expect_on_disk(range, shared_->size_bytes);
  const auto change = shared_->known.change(range);
  below().trim(length, offset, durability);
}

void CacheextentsLayer::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                                ExtentList& extents) {
  const Range asked{offset, length};
  expect_on_disk(asked, shared_->size_bytes);
  if (!trusts_memory()) {
    below().extents(length, offset, only_one, extents);
    return;
  }
  auto answer = shared_->known.look(asked, traits().size_bytes, only_one);
  if (answer.query) {
    answer.extents = ask(answer.query->range(), asked, only_one);
    if (trusts_memory()) answer.query->learn(answer.extents.all());
  }
  for (const Extent& extent : answer.extents.all()) {
    extents.append(asked.intersection(extent.range), extent.type);
    if (only_one) break;
  }
}

ExtentList CacheextentsLayer::ask(const Range& range, const Range& asked, bool only_one) {
  expect_on_disk(range, shared_->size_bytes);
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
