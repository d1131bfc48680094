// The terms of a volume's writers, in its lease record: each owner has a term of its own, a higher
// number than its predecessor's, however it got the lease.
//
//   replaced record                         new term       the last change was in
//   released, term T, last change in C      after T        C; nothing was changed in T, unless T
//                                                          is C
//   held (crashed, stopped, forced out)     after T        T: anything may have been changed
//   none, without a term, or unreadable     a new count    the new term: no former knowledge is
//                                                          valid any more
//   an earlier put of this server           as in it       as in it
//
// While an owner holds the lease, its record has the term of the last change before its own. On
// release the owner replaces that by its own term, if it has changed anything.
//
// A bucket that is restored from a backup has an old record again, and later owners must not get
// the terms of owners that the bucket has forgotten: knowledge from such a term would be believed.
// So the next term is a random step away, a new count begins at a random number, and the record
// lists each term in which nothing was changed since the last change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nbdstack {

struct LeaseTerm {
  std::uint64_t number = 0;
  std::uint64_t changed_in = 0;  // the last term in which anything may have been changed
  // The terms between these two, in order; only the last ones, if there are many.
  std::vector<std::uint64_t> unchanged{};

  // Makes knowledge of all earlier terms invalid.
  void note_change() {
    changed_in = number;
    unchanged.clear();
  }

  friend bool operator==(const LeaseTerm&, const LeaseTerm&) = default;
};

struct LeaseRecord;

// A record lists no more of them: knowledge from an older term is read again.
inline constexpr std::size_t kUnchangedTerms_max = 32;

// Returns whether a record may have this term. Numbers end long before a count could.
[[nodiscard]] bool is_possible(const LeaseTerm& term);

// Returns the terms between the two of a record that does not list them: it counts by one.
std::vector<std::uint64_t> terms_between(std::uint64_t changed_in, std::uint64_t number);

// Returns the term of the owner `own_id`, which will replace this record; `replaced` is null if
// there is none, or none that can be read.
LeaseTerm term_after(const LeaseRecord* replaced, const std::string& own_id);

}  // namespace nbdstack
