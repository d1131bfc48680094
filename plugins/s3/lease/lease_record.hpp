// The object that names the server that may write a volume, and for how long:
//
//   KEY/nbdstack-lease.json, without "KEY/" for a volume that has no key
//
//   {
//     "format": "nbdstack-lease",
//     "version": 3,
//     "state": "held",                            or "released"
//     "owner": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",  128 random bits, of one run of a server
//     "host": "vm-host-3",                        for people, and with the next four to find out
//     "pid": 4711,                                on the same machine that the owner has ended.
//     "start-time": 123456,                       Until the server has gone into the background:
//     "boot-id": "...",                           the process that starts it. (Earlier versions
//     "pid-namespace": "pid:[4026531836]",        put 0 for pid and start-time until then)
//     "since": "2026-01-31T12:00:00Z",            for people: when the owner took it, by its clock
//     "renewals": 12,                             one more in each PUT
//     "duration-ms": 30000,                       lease_timing.hpp: not the same in all records
//     "term": 7,                                  lease_term.hpp
//     "changed-term": 5,
//     "unchanged-terms": [6]
//   }
//
//   version   term and changed-term         unchanged-terms
//   1         absent: such a lease has no   -
//             known term
//   2         present                       absent: all numbers between the two
//   3         present                       present
//
// An older program refuses to start with a newer record, as it must: it would pass no term on, or
// one that may have been another owner's.
//
// Records are written by PUTs that are conditional on the ETag, so that they form one line in which
// each knows its predecessor. No two records are equal bytes: owners differ, and an owner counts. A
// store may rely on that to recognise a PUT whose answer was lost as its own.
//
// Reading is strict: a field that is missing, unknown, or of a wrong type or range means that this
// program does not understand the record, and must not take the volume for free. Texts are
// printable ASCII, because they are shown in logs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/lease/lease_term.hpp"
#include "plugins/s3/lease/lease_timing.hpp"
#include "plugins/s3/lease/process_identity.hpp"

namespace nbdstack {

// Throws Error(EINVAL) that names lease-time.
void check_lease_duration(std::chrono::milliseconds duration);

struct LeaseRecord {
  enum class State : std::uint8_t { held, released };

  State state = State::held;
  std::string owner;
  ProcessIdentity process;
  std::string since;
  std::uint64_t renewals = 0;
  std::chrono::milliseconds duration{};
  std::optional<LeaseTerm> term{};  // empty in version 1

  // Makes a held record of this process, since now, with a new random owner and no term yet.
  static LeaseRecord make(const Processes& processes, std::chrono::milliseconds duration);

  // Throws Error(EINVAL) that names the object, its fault, and own=force.
  static LeaseRecord parse(const std::string& text, const std::string& object_name);

  [[nodiscard]] std::string to_json() const;

  // Returns, for example, "nbdkit on vm-host-3, pid 4711, since 2026-01-31T12:00:00Z".
  [[nodiscard]] std::string owner_in_words() const;
};

std::string lease_object_key(const std::string& volume_key);

}  // namespace nbdstack
