#include "tests/crash/hosts_oracle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "plugins/s3/layout/object_names.hpp"
#include "tests/crash/shared_volume.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kPagesPerObject = kHostsObject / kHostsPage;

std::uint64_t stamp_in(const Cloud::Bytes& body, std::uint64_t page) {
  const std::size_t at = page % kPagesPerObject * kHostsPage;
  return stamp_of(std::span(body).subspan(at, kHostsPage));
}

}  // namespace

std::uint64_t Oracle::stored(std::uint64_t page) const {
  const auto* const object = cloud_.find(ObjectNames("disk").block({page / kPagesPerObject}));
  return object == nullptr ? 0 : stamp_in(object->body, page);
}

void Oracle::taken_over(std::uint64_t life) {
  check_volume();
  cloud_.set_owner(life);
  for (std::uint64_t page = 0; page < kHostsPages; ++page) volume_.at(page) = may_find(page);
}

void Oracle::may_be_stored(std::uint64_t page, const Stamps& stamps) {
  volume_.at(page).insert(stamps.begin(), stamps.end());
}

void Oracle::must_be_stored(const Truth& truth) {
  for (std::uint64_t page = 0; page < kHostsPages; ++page) {
    const Stamps& now = truth.at(page).now;
    // Zeros over an object that the owner knows not to be there change nothing.
    const bool may_be_untouched = is_uncertain_.at(page) && now.contains(0);
    if (!may_be_untouched) volume_.at(page).clear();
    volume_.at(page).insert(now.begin(), now.end());
    is_uncertain_.at(page) = is_uncertain_.at(page) && (may_be_untouched || now.size() > 1);
  }
  check_volume();
}

void Oracle::check_volume() {
  if (owner() == 0) return;
  for (std::uint64_t page = 0; page < kHostsPages; ++page) {
    if (volume_.at(page).contains(stored(page))) continue;
    fail(fmt::format("the volume holds {:x} in page {}, which may be {:x}", stored(page), page,
                     fmt::join(volume_.at(page), " or ")));
  }
}

void Oracle::block_changed(
    const Cloud::Change& change, bool is_harmless,
    const std::function<void(std::uint64_t page, std::uint64_t stamp)>& allow) {
  const bool is_allowed_everywhere = change.life != owner() && is_harmless;
  if (!change.was_sent_by_owner) fail(change.key + " was changed by who had lost the volume");
  changed_by_.push_back(is_allowed_everywhere ? 0 : change.life);
  const std::uint64_t first = ObjectNames("disk").parse_block(change.key)->value * kPagesPerObject;
  for (std::uint64_t page = first; page < std::min(first + kPagesPerObject, kHostsPages); ++page) {
    const std::uint64_t stamp = change.body.has_value() ? stamp_in(*change.body, page) : 0;
    ever_stored_.insert(stamp);
    if (!is_allowed_everywhere) continue;
    volume_.at(page).insert(stamp);
    is_uncertain_.at(page) = true;
    allow(page, stamp);
  }
}

bool Oracle::changed_by_others(std::size_t since, std::uint64_t life) const {
  return std::any_of(changed_by_.begin() + static_cast<std::ptrdiff_t>(since), changed_by_.end(),
                     [&](std::uint64_t by) { return by != life && by != 0; });
}

}  // namespace nbdstack::testing
