// The terms of a volume's writers, counted in its lease record: each owner has a term of its own,
// one more than its predecessor's, however it came by the lease.
//
//   the record that an owner replaces      its own term      the last change was in
//   released, term T, last change in C     T + 1             C
//   held (crashed, stopped, forced out)    T + 1             T: anything may have been changed
//   no record, one without a term, or      a new count       that new term: nothing that was true
//   one that cannot be read                                  before is known to be true still
//   an earlier put of our own              as it says        as it says
//
// An owner writes, while it holds the lease, in which term the last change was before its own. When
// it gives the lease back it replaces that by its own term, if it has changed anything.
//
// A new count begins at a random number, so that the terms of a lease whose object was removed by
// hand do not come again: what was remembered under one of them would be believed.
#pragma once

#include <cstdint>
#include <string>

namespace nbdstack {

struct LeaseTerm {
  std::uint64_t number = 0;
  std::uint64_t changed_in = 0;  // the last term in which anything may have been changed

  friend bool operator==(const LeaseTerm&, const LeaseTerm&) = default;
};

struct LeaseRecord;

// Whether a record may say so. Numbers end long before a count could.
[[nodiscard]] constexpr bool is_possible(const LeaseTerm& term) {
  constexpr std::uint64_t kTerm_max = (std::uint64_t{1} << 63U) - 1;
  return term.changed_in <= term.number && term.number <= kTerm_max;
}

// The term of the owner `own_id` that is going to replace this record; null: there is none, or none
// that can be read.
LeaseTerm term_after(const LeaseRecord* replaced, const std::string& own_id);

}  // namespace nbdstack
