// Whether a store means the conditions of a PUT, found out by trying.
//
// Services differ in ways that none of their answers tells: an older MinIO stored an If-Match on a
// missing key, Ceph RGW 16 answers 412 to the right ETag in its quotes and takes it without them,
// others ignore the headers or answer 501. Whatever rests on one writer winning needs the proof
// first:
//
//   step   request, on a probe object of a random name            must be
//   1      create-only                                            stored
//   2      create-only again, other bytes                         exists
//   3      if-match, the ETag as the store gave it                stored
//   3b     only if step 3 was refused: the ETag without quotes    stored
//   4      if-match, the ETag from before step 3, in that form    changed
//   5      if-match on a key that does not exist                  not stored
//   6      the probe object is removed, also when a step throws
//
// Whether a removal's ETag means something as well is found out when there is something to remove
// (removal_conditions.hpp).
//
// That is 6 or 7 requests, so it is done only where a lease is about to be taken. It proves that
// conditions are looked at, not that the service does so atomically: no sequence of requests from
// one client can.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/removal_conditions.hpp"

namespace nbdstack {

enum class ConditionSupport : std::uint8_t {
  with_quotes,   // If-Match wants the ETag as the store gives it
  bare,          // If-Match wants it without its quotes
  not_honoured,  // ConditionalPuts::reason says what was seen
};

struct ConditionalPuts {
  ConditionSupport support = ConditionSupport::not_honoured;
  std::string reason{};
  // What is known of removals' beforehand; only where those of PUTs are kept.
  RemovalState of_removals = RemovalState::untried;
  // An object's ETag is the MD5 of its body, in hex and quotes: it is known beforehand.
  bool etags_are_md5 = false;

  [[nodiscard]] bool honoured() const { return support != ConditionSupport::not_honoured; }

  // An ETag as the store gave it, in the form that PutOptions::etag must have there.
  [[nodiscard]] std::string etag_to_send(const std::string& etag) const;
};

// Puts an object where there is none. A store that knows no conditions is asked beforehand: of two
// that create at the same moment both may be told `stored` then.
PutOutcome put_if_absent(ObjectStore& store, const std::string& key,
                         std::span<const std::byte> body, PutOptions options = {});

// The probe object is KEY/nbdstack-probe-<32 hex digits>. Throws the store's own errors; a probe
// object that could not be removed is an error in the log only.
ConditionalPuts probe_conditional_puts(ObjectStore& store, const std::string& volume_key);

}  // namespace nbdstack
