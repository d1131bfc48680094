// Checks that the pages of a listing are plausible, before a caller relies on them.
//
// Services have listed keys outside of the request, keys in another encoding (a '+' or a '%' that
// was encoded once more or once less), or keys twice. They have announced further pages without a
// token for the next one, or with a token that leads back to an earlier page. A caller that
// believed such a page would take stored blocks for holes, or list for ever. One such page may be
// an accident of a service that is being restarted; if another follows, it is the service's way.
//
// An order other than that of the keys' bytes is no contradiction by itself: S3 Express lists by
// hashes, services over encrypted names by those, and others from the beginning whatever key they
// are to begin after. So it is a fault of its own (PageFault::is_of_order), after which the caller
// can list in any order instead.
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
  any,       // the service's own
};

// The request: keys that begin with `prefix` and, if they are in order, sort after `after`, which
// may be empty.
struct AskedKeys {
  std::string prefix;
  std::string after;
};

struct PageFault {
  std::string words;
  bool is_of_order = false;  // the same keys in another order would have no fault
};

// The pages of one listing, in the order in which they arrive. Externally synchronized. Each page
// takes two entries of eight bytes in hash tables.
class PageCheck {
 public:
  static constexpr unsigned kEmptyPages_max = 1000;  // in a row

  PageCheck(AskedKeys asked, ListOrder order) : asked_(std::move(asked)), order_(order) {}

  // Returns the fault of the next page if it contradicts the request, itself, or the pages before
  // it.
  [[nodiscard]] std::optional<PageFault> fault_of(const ListPage& page) const;

  // Records the page as the next one.
  void accept(const ListPage& page);

  // Returns whether the next request asks for keys after a certain one, or for a prefix that ends
  // within a name: services with an order of their own have refused both.
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
  // Both hold hashes of 64 bits: a collision is an error without a cause, after four billion pages.
  std::unordered_set<std::uint64_t> tokens_;
  std::unordered_set<std::uint64_t> first_keys_;
  unsigned empty_pages_ = 0;
};

}  // namespace nbdstack
