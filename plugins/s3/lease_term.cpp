#include "plugins/s3/lease_term.hpp"

#include <random>

#include "plugins/s3/lease_record.hpp"

namespace nbdstack {
namespace {

// Far from each other, and from where a count could ever come by counting: 52 random bits, which
// every program that reads JSON takes for a whole number.
LeaseTerm new_count() {
  constexpr std::uint64_t kFirst_max = (std::uint64_t{1} << 52U) - 1;
  std::random_device random;
  std::uniform_int_distribution<std::uint64_t> any(1, kFirst_max);
  const std::uint64_t first = any(random);
  return {.number = first, .changed_in = first};
}

}  // namespace

LeaseTerm term_after(const LeaseRecord* replaced, const std::string& own_id) {
  if (replaced == nullptr || !replaced->term.has_value()) return new_count();
  const LeaseTerm& former = *replaced->term;
  if (replaced->owner == own_id) return former;
  const LeaseTerm next{.number = former.number + 1,
                       .changed_in = replaced->state == LeaseRecord::State::released
                                         ? former.changed_in
                                         : former.number};
  return is_possible(next) ? next : new_count();
}

}  // namespace nbdstack
