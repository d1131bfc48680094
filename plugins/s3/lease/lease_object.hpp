// The object of a lease in a store: reads it, and replaces exactly the record that was read.
//
//   conditions honoured       If-None-Match: * if there was no record, else If-Match: one winner
//   conditions not honoured   plain token: create-only if the store supports it; otherwise read,
//                             put, read again. Two servers that do so at the same moment may both
//                             believe that they have won, until the next read of one of them.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "plugins/s3/lease/lease_record.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// One record of all that were ever stored: no two have the same text.
struct LeaseVersion {
  std::string text;
  std::string etag;  // as returned by the store
};

struct SeenLease {
  LeaseVersion version;
  std::optional<std::chrono::seconds> age;  // by the store's clock, for people only
  std::optional<LeaseRecord> record;        // empty if this program does not understand it
  std::string fault;                        // the reason why not
};

class LeaseObject {
 public:
  // `store` outlives this.
  LeaseObject(ObjectStore& store, std::string key, ConditionalPuts conditions);

  // Returns nothing if there is none. Throws the store's errors.
  [[nodiscard]] std::optional<SeenLease> read() const;

  // As read(), for a caller that replaces any record: one that the store cannot return as it was
  // stored (a checksum that does not fit) counts as one that is not understood.
  [[nodiscard]] std::optional<SeenLease> read_to_replace() const;

  // Replaces `predecessor`, which is empty if there was no record, by `record`. Returns nothing if
  // the store has another record: the caller reads it, as it may be an earlier put whose reply was
  // lost. Throws the store's errors; the record may then be stored nevertheless.
  [[nodiscard]] std::optional<LeaseVersion> put_over(const std::optional<LeaseVersion>& predecessor,
                                                     const LeaseRecord& record);

 private:
  [[nodiscard]] std::optional<LeaseVersion> put_plainly(
      const std::optional<LeaseVersion>& predecessor, const std::string& text);
  PutOutcome put(const std::string& text, const PutOptions& options);
  // Returns the stored record if it has this text.
  [[nodiscard]] std::optional<LeaseVersion> find(const std::string& text) const;

  ObjectStore& store_;
  const std::string key_;
  const ConditionalPuts conditions_;
};

}  // namespace nbdstack
