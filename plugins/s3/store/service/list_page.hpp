// What the pages of a listing have to be for anybody to go by them.
//
// Services have shown keys that were not asked for, in another writing than their names' (a '+' or
// a '%' that was encoded once more or once less), twice, or have said that more follows without
// saying how to go on, or by a way that leads back to where one was. Whoever takes such a page for
// the truth takes what is stored for holes, or never ends. One such page may be an accident of a
// service that is being restarted; one after the other is how the service is.
//
// An order other than that of the keys' bytes is no contradiction by itself: S3 Express lists by
// hashes, services over encrypted names by those, others from the beginning whatever key they were
// told to begin after. So it is told apart from the other faults, and the caller can list in any
// order instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>

#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {

enum class ListOrder : std::uint8_t {
  by_bytes,  // ascending
  any,       // as the service has it
};

// Keys that begin with `prefix` and, where they are in order, sort after `after`, which may be
// empty.
struct AskedKeys {
  std::string prefix;
  std::string after;
};

struct PageFault {
  std::string words;
  bool is_of_order = false;  // the same keys in another order would do
};

// The pages of one listing, in the order in which they come. Externally synchronized. Takes sixteen
// bytes, and what a hash table needs for them, for each page.
class PageCheck {
 public:
  static constexpr unsigned kEmptyPages_max = 1000;  // one after the other

  PageCheck(AskedKeys asked, ListOrder order) : asked_(std::move(asked)), order_(order) {}

  // What the next page contradicts: the question, itself, or the pages before it. Nothing where it
  // fits.
  [[nodiscard]] std::optional<PageFault> fault_of(const ListPage& page) const;

  // The page is the next one.
  void accept(const ListPage& page);

  // What is asked for now is where to begin among the keys in order, or a prefix that ends within a
  // name: services with an order of their own have refused both.
  [[nodiscard]] bool asks_for_part() const {
    const bool is_within_name = !asked_.prefix.empty() && !asked_.prefix.ends_with('/');
    return order_ == ListOrder::by_bytes && tokens_.empty() &&
           (is_within_name || !asked_.after.empty());
  }

 private:
  [[nodiscard]] std::optional<std::string> fault_of_contents(const ListPage& page) const;
  [[nodiscard]] std::optional<std::string> fault_of_progress(const ListPage& page) const;
  [[nodiscard]] std::optional<PageFault> fault_of_order(const ListPage& page) const;

  AskedKeys asked_;
  const ListOrder order_;
  // Hashes: a collision among 64 bits is an error without a cause, once in four billion pages.
  std::unordered_set<std::uint64_t> tokens_;
  std::unordered_set<std::uint64_t> first_keys_;
  unsigned empty_pages_ = 0;
};

}  // namespace nbdstack
