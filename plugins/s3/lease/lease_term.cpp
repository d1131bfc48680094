#include "plugins/s3/lease/lease_term.hpp"

#include <algorithm>
#include <random>

#include "plugins/s3/lease/lease_record.hpp"

namespace nbdstack {
namespace {

std::uint64_t any_up_to(std::uint64_t last) {
  std::random_device random;
  return std::uniform_int_distribution<std::uint64_t>(1, last)(random);
}

// New counts are far from each other, and from all that a count reaches by its steps: they have 52
// random bits, which every JSON reader takes for an integer, also after half a billion steps.
LeaseTerm new_count() {
  constexpr std::uint64_t kFirst_max = (std::uint64_t{1} << 52U) - 1;
  const std::uint64_t first = any_up_to(kFirst_max);
  return {.number = first, .changed_in = first};
}

// A random step separates two owners that follow the same record in different histories.
constexpr std::uint64_t kStep_max = std::uint64_t{1} << 24U;

}  // namespace

LeaseTerm term_after(const LeaseRecord* replaced, const std::string& own_id) {
  if (replaced == nullptr || !replaced->term.has_value()) return new_count();
  const LeaseTerm& former = *replaced->term;
  if (replaced->owner == own_id) return former;
  LeaseTerm next = former;
  next.number = former.number + any_up_to(kStep_max);
  if (replaced->state != LeaseRecord::State::released || former.changed_in == former.number) {
    next.changed_in = former.number;
    next.unchanged.clear();
  } else {
    next.unchanged.push_back(former.number);
    if (next.unchanged.size() > kUnchangedTerms_max) next.unchanged.erase(next.unchanged.begin());
  }
  return is_possible(next) ? next : new_count();
}

bool is_possible(const LeaseTerm& term) {
  constexpr std::uint64_t kTerm_max = (std::uint64_t{1} << 63U) - 1;
  std::uint64_t former = term.changed_in;
  for (const std::uint64_t each : term.unchanged) {
    if (each <= former || each >= term.number) return false;
    former = each;
  }
  return term.changed_in <= term.number && term.number <= kTerm_max &&
         term.unchanged.size() <= kUnchangedTerms_max;
}

std::vector<std::uint64_t> terms_between(std::uint64_t changed_in, std::uint64_t number) {
  std::vector<std::uint64_t> terms;
  if (changed_in >= number) return terms;
  const std::uint64_t first =
      std::max(changed_in + 1, number - std::min<std::uint64_t>(number, kUnchangedTerms_max));
  for (std::uint64_t term = first; term < number; ++term) terms.push_back(term);
  return terms;
}

}  // namespace nbdstack
