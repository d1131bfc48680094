#include "plugins/s3/store/service/list_page.hpp"

#include <fmt/core.h>

#include <span>

#include "common/hash/xxh3.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

std::uint64_t hash_of(const std::string& text) {
  return xxh3_64(std::as_bytes(std::span(text)), 0);
}

bool is_empty(const ListPage& page) {
  return page.objects.empty() && page.common_prefixes.empty();
}

}  // namespace

std::optional<PageFault> PageCheck::fault_of(const ListPage& page) const {
  if (auto words = fault_of_contents(page)) return PageFault{.words = std::move(*words)};
  // Checked first, because a page that is repeated is out of order, too.
  if (auto words = fault_of_progress(page)) return PageFault{.words = std::move(*words)};
  return order_ == ListOrder::by_bytes ? fault_of_order(page) : std::nullopt;
}

void PageCheck::accept(const ListPage& page) {
  if (!page.objects.empty()) asked_.after = page.objects.back().key;
  empty_pages_ = is_empty(page) ? empty_pages_ + 1 : 0;
  if (!page.truncated) return;
  tokens_.insert(hash_of(page.next_token));
  if (!page.objects.empty()) first_keys_.insert(hash_of(page.objects.front().key));
}

std::optional<std::string> PageCheck::fault_of_contents(const ListPage& page) const {
  if (page.prefix.has_value() && !page.prefix->empty() && *page.prefix != asked_.prefix &&
      page.prefix_as_sent != asked_.prefix) {
    return fmt::format("keys that begin with {} were asked for, and those with {} listed",
                       quotable(asked_.prefix), quotable(*page.prefix));
  }
  // Prefixes count like keys, but some services (s3rver) count keys only.
  const std::size_t listed = page.objects.size() + page.common_prefixes.size();
  const std::size_t announced = page.key_count.value_or(listed);
  if (announced != listed && announced != page.objects.size()) {
    return fmt::format("{} keys are announced, and {} listed", *page.key_count, listed);
  }
  const auto fault_of_entry = [&](const std::string& entry) -> std::optional<std::string> {
    if (entry.starts_with(asked_.prefix)) return std::nullopt;
    return fmt::format("{} was listed, which does not begin with {}", quotable(entry),
                       quotable(asked_.prefix));
  };
  for (const ListedObject& object : page.objects) {
    if (auto fault = fault_of_entry(object.key)) return fault;
  }
  for (const std::string& prefix : page.common_prefixes) {
    if (auto fault = fault_of_entry(prefix)) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> PageCheck::fault_of_progress(const ListPage& page) const {
  if (!page.truncated) return std::nullopt;
  if (page.next_token.empty()) return "more keys are announced, but not how to ask for them";
  if (tokens_.contains(hash_of(page.next_token))) {
    return fmt::format(
        "the listing does not end: the page behind the continuation token {} has "
        "been asked for already",
        quotable(page.next_token));
  }
  if (!page.objects.empty() && first_keys_.contains(hash_of(page.objects.front().key))) {
    return fmt::format("the listing does not end: a page before began with {}, too",
                       quotable(page.objects.front().key));
  }
  if (is_empty(page) && empty_pages_ + 1 >= kEmptyPages_max) {
    return fmt::format(
        "the listing does not end: {} pages without a key were shown, and more announced",
        kEmptyPages_max);
  }
  return std::nullopt;
}

std::optional<PageFault> PageCheck::fault_of_order(const ListPage& page) const {
  const std::string* after = &asked_.after;
  for (const ListedObject& object : page.objects) {
    if (object.key <= *after) {
      return PageFault{.words = fmt::format("the keys are not in order: {} was listed where what "
                                            "follows {} was asked for",
                                            quotable(object.key), quotable(*after)),
                       .is_of_order = true};
    }
    after = &object.key;
  }
  return std::nullopt;
}

}  // namespace nbdstack
