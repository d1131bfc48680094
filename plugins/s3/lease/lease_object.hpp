// The object of a lease in a store: reading it, and putting a record in the place of the one that
// was seen, and of no other.
//
//   conditions honoured       If-None-Match: * where there was none, If-Match else: one winner
//   conditions not honoured   plain token: create-only as far as the store does it; else look, put,
//                             look again. Two that do so at the same moment may both believe that
//                             they won, until the next look of one of them.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "plugins/s3/lease/lease_record.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// One record among all that were ever stored: no two have the same text.
struct LeaseVersion {
  std::string text;
  std::string etag;  // as the store gave it
};

struct SeenLease {
  LeaseVersion version;
  std::optional<std::chrono::seconds> age;  // by the store's clock: for people only
  std::optional<LeaseRecord> record;        // nothing: this program does not understand it,
  std::string fault;                        // and why
};

class LeaseObject {
 public:
  // `store` outlives this.
  LeaseObject(ObjectStore& store, std::string key, ConditionalPuts conditions);

  // Nothing: there is none. Throws the store's errors.
  [[nodiscard]] std::optional<SeenLease> read() const;

  // The same for who is going to replace it whatever it is: one that the store cannot give back as
  // it was stored (a checksum that does not fit) counts as one that is not understood.
  [[nodiscard]] std::optional<SeenLease> read_to_replace() const;

  // Puts `record` where `predecessor` is (nothing: where there is no record). Nothing comes back
  // when something else is there: the caller looks what it is, which may be an earlier put of his
  // whose answer was lost. Throws the store's errors; the record may be stored all the same then.
  [[nodiscard]] std::optional<LeaseVersion> put_over(const std::optional<LeaseVersion>& predecessor,
                                                     const LeaseRecord& record);

 private:
  [[nodiscard]] std::optional<LeaseVersion> put_plainly(
      const std::optional<LeaseVersion>& predecessor, const std::string& text);
  PutOutcome put(const std::string& text, const PutOptions& options);
  // What is stored now, if it is this.
  [[nodiscard]] std::optional<LeaseVersion> find(const std::string& text) const;

  ObjectStore& store_;
  const std::string key_;
  const ConditionalPuts conditions_;
};

}  // namespace nbdstack
