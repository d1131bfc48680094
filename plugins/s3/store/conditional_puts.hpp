// Probes whether a store honours the conditions of a PUT.
//
// Services differ in ways that none of their answers shows: an older MinIO stored an If-Match on a
// missing key, Ceph RGW 16 answers 412 to the right ETag in its quotes and accepts it without them,
// others ignore the headers or answer 501. Code that depends on one writer winning needs the proof
// first:
//
//   step   request, on a probe object of a random name            must be
//   1      create-only                                            stored
//   2      create-only again, other bytes                         exists
//   3      if-match, the ETag as the store returned it            stored
//   3b     only if step 3 was refused: the ETag without quotes    stored
//   4      if-match, the ETag from before step 3, in that form    changed
//   5      if-match on a key that does not exist                  not stored
//   6      the probe object is removed, even if a step throws
//
// The first removal shows whether an ETag is honoured there as well (removal_conditions.hpp).
//
// These are 6 or 7 requests, so they are made only before a lease is taken. They prove that
// conditions are checked, not that the service does so atomically: no sequence of requests from one
// client can prove that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/removal_conditions.hpp"

namespace nbdstack {

enum class ConditionSupport : std::uint8_t {
  with_quotes,   // If-Match needs the ETag as the store returned it
  bare,          // If-Match needs it without its quotes
  not_honoured,  // ConditionalPuts::reason has the observation
};

struct ConditionalPuts {
  ConditionSupport support = ConditionSupport::not_honoured;
  std::string reason{};
  // Prior knowledge about removals; only if conditions of PUTs are honoured.
  RemovalState of_removals = RemovalState::untried;
  // An object's ETag is the MD5 of its body, in hex and quotes, and so known beforehand.
  bool etags_are_md5 = false;

  [[nodiscard]] bool honoured() const { return support != ConditionSupport::not_honoured; }

  // Returns an ETag from the store in the form that PutOptions::etag must have.
  [[nodiscard]] std::string etag_to_send(const std::string& etag) const;
};

// Puts an object if there is none. In a store without conditions a query precedes it: of two
// writers that create at the same moment both may be told `stored` then.
PutOutcome put_if_absent(ObjectStore& store, const std::string& key,
                         std::span<const std::byte> body, PutOptions options = {});

// The probe object is KEY/nbdstack-probe-<32 hex digits>. Throws the store's own errors; if the
// probe object cannot be removed, that is only logged.
ConditionalPuts probe_conditional_puts(ObjectStore& store, const std::string& volume_key);

}  // namespace nbdstack
