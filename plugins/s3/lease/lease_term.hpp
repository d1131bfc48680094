// The terms of a volume's writers, in its lease record: each owner has a term of its own, a higher
// number than its predecessor's, however it came by the lease.
//
//   the record that an owner replaces      its own term      the last change was in
//   released, term T, last change in C     behind T          C; nothing was changed in T, if T is
//                                                            not C
//   held (crashed, stopped, forced out)    behind T          T: anything may have been changed
//   no record, one without a term, or      a new count       that new term: nothing that was true
//   one that cannot be read                                  before is known to be true still
//   an earlier put of our own              as it says        as it says
//
// An owner writes, while it holds the lease, in which term the last change was before its own. When
// it gives the lease back it replaces that by its own term, if it has changed anything.
//
// A bucket that is restored from a backup brings an old record back, and the owners after that must
// not get the terms of those that the bucket has forgotten: what was remembered under one of them
// would be believed. So the next term is a random step away, a new count begins at a random number,
// and the record tells one by one the terms in which nothing was changed since the last change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nbdstack {

struct LeaseTerm {
  std::uint64_t number = 0;
  std::uint64_t changed_in = 0;  // the last term in which anything may have been changed
  // The terms between these two, in order; the last ones only, where there are many.
  std::vector<std::uint64_t> unchanged{};

  // Nothing that was true in an earlier term is known to be true still.
  void note_change() {
    changed_in = number;
    unchanged.clear();
  }

  friend bool operator==(const LeaseTerm&, const LeaseTerm&) = default;
};

struct LeaseRecord;

// More of them are not told: what was remembered in an older one is read again.
inline constexpr std::size_t kUnchangedTerms_max = 32;

// Whether a record may say so. Numbers end long before a count could.
[[nodiscard]] bool is_possible(const LeaseTerm& term);

// The terms between the two of a record that does not tell them: it counts by one.
std::vector<std::uint64_t> terms_between(std::uint64_t changed_in, std::uint64_t number);

// The term of the owner `own_id` that is going to replace this record; null: there is none, or none
// that can be read.
LeaseTerm term_after(const LeaseRecord* replaced, const std::string& own_id);

}  // namespace nbdstack
