// ObjectStore over S3's REST interface. s3_operation.hpp lists the requests, and call_stack.hpp the
// parts that each passes on its way to the service.
//
//   get        The body is checked against x-amz-meta-nbdstack-xxh3, if the object has it (another
//              program's may not).
//   get_range  The answer must have exactly the Content-Range of the request. The request is
//              widened to whole pieces that x-amz-meta-nbdstack-pieces can verify. An object that
//              an older version stored without it is read whole once (part_read.hpp).
//   look_up    GET of the first byte: its Content-Range has the size and, unlike HEAD's, its errors
//              have a body with the reason. If the answer has no size, HEAD follows: services have
//              refused the range, or called an object empty that is not.
//   put        The attributes are headers, as are Content-MD5, x-amz-content-sha256 and the
//              checksums above (XXH3-128 of the body, hex; piece_checksums.hpp).
//   remove     One request removes as many keys as the service can in good time
//              (removal_pace.hpp). A service without DeleteObjects, which is detected once, gets a
//              DELETE for each key, several at a time. A key of which only one version is to be
//              removed is sent with its ETag.
//   list       A page that does not fit the request (list_page.hpp) is requested again; if that
//              does not help, it is an error. http_store_listing.cpp handles services with an
//              order of their own.
//
// A missing object reads as zeros in a volume, so it counts as missing only if an S3 service
// answers so (NoSuchKey): the 404 of a proxy on a wrong way is an error.
//
// A conditional put that meets 412 after an attempt without an answer reads the object back. If the
// bytes are equal, they are its own, and the result is `stored`; so two writers that use conditions
// must not write equal bytes. A service without conditions answers 501: unsupported. Others answer
// 400, 403, 405 or 409, which means that only in a trial of the conditions (PutOptions::is_trial).
//
// A directory bucket does not support Content-MD5: x-amz-checksum-sha256 takes its place.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/hash/digest.hpp"
#include "common/metrics/registry.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/store/learned_pieces.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/part_read.hpp"
#include "plugins/s3/store/service/call_stack.hpp"
#include "plugins/s3/store/service/list_page.hpp"
#include "plugins/s3/store/service/removal_pace.hpp"
#include "plugins/s3/store/service/service_options.hpp"
#include "plugins/s3/store/unverified_notice.hpp"

namespace nbdstack {

struct HttpStoreConfig {
  std::string bucket;  // for messages
  std::shared_ptr<BucketLocation> location;
  std::shared_ptr<CredentialSource> credentials;
  std::shared_ptr<ExpressSession> session;  // of a directory bucket; null for others
  unsigned connections = 16;
  std::uint32_t timeout_ms = 60'000;  // of one operation with all its attempts, except for time in
                                      // which they make progress
  TransferTime time = TransferTime::of_silence;  // `whole` counts that time, too
  unsigned retries = kRetries_unlimited;
  std::string ca_file;  // empty for the system's
  bool tls_verify = true;
  ServiceOptions options;
  // Set if the service is known to list keys in its own order; else the store detects that.
  bool lists_unsorted = false;
  std::function<bool()> stopping;   // true once the server is to stop; empty if it never is
  std::function<bool()> may_write;  // true while objects may be changed; empty if they always may
  Metrics metrics{};                // what the requests are counted with
};

class HttpStore final : public ObjectStore {
 public:
  // Connects to nothing yet: a store may be made before the server forks, but must not be used
  // before and after it.
  HttpStore(const HttpStoreConfig& config, Clock& clock);

  // Throws an error that every request would meet: of endpoint, credentials, bucket, permission to
  // list. For the start of the server: its timeout is shorter than that of other operations.
  void check_bucket(const std::string& prefix);

  bool get(const std::string& key, std::span<std::byte> body) override;
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override;
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    return fetch_checked(key, buffer, {});
  }
  std::optional<ObjectInfo> fetch_checked(const std::string& key, std::span<std::byte> buffer,
                                          const Check& check) override;
  std::optional<ObjectInfo> look_up(const std::string& key) override;
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override;
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override;
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override;
  bool list_in_order(const std::string& prefix, const std::string& start_after,
                     const std::function<bool(const ListedObject&)>& visit) override;
  void list_in_any_order(const std::string& prefix,
                         const std::function<bool(const ListedObject&)>& visit) override;
  [[nodiscard]] bool lists_in_order() const override { return order_ != KnownOrder::its_own; }
  std::vector<std::string> directories_below(const std::string& prefix) override;
  void list_versions(const std::string& prefix,
                     const std::function<bool(const ListedVersion&)>& visit) override;
  [[nodiscard]] bool keeps_versions() const override { return keeps_versions_; }
  [[nodiscard]] bool lists_are_proof() const override { return config_.options.trust_listing; }

  // Returns the number of reads of parts that wait while another one reads the same object whole;
  // for tests.
  [[nodiscard]] std::size_t waiting_for_whole() const { return learned_.waiting(); }

 private:
  using Judge = decltype(S3Call::judge);

  PerformCall make_stack();
  // Returns false if there is no such object (S3Operation::absent). `judge` is as in S3Call.
  bool run(S3Call& call, Judge judge);
  [[nodiscard]] std::string url_of(const std::string& key) const;

  bool get_part_of_whole(const std::string& key, PartRead& read, const ObjectPart& part);
  [[nodiscard]] Header digest_header(std::span<const std::byte> body,
                                     const Sha256Digest& digest) const;
  S3Call put_call(const S3Operation& operation, const std::string& key,
                  std::span<const std::byte> body, const PutOptions& options) const;
  PutOutcome put_on_condition(const std::string& key, std::span<const std::byte> body,
                              const PutOptions& options);
  std::optional<std::string> etag_if_holds(const std::string& key, std::span<const std::byte> body);
  // Returns false if the object is another version.
  bool remove_one(const Removal& removal, Doubt& doubt);
  enum class Many : std::uint8_t {
    done,
    not_known,  // the service may not support the request
    too_slow,   // it did not answer in time: fewer at a time
  };
  Many remove_many(std::span<const Removal> removals, Doubt& doubt,
                   std::vector<std::string>& refused);
  void remove_each(std::span<const Removal> removals, Doubt& doubt,
                   std::vector<std::string>& refused);
  // The page must fit `check`, unless that is null. Returns nothing if `check` wants the keys in
  // order and they are in another one.
  std::optional<ListPage> fetch_page(S3Call& call, PageCheck* check);
  void list_as_it_comes(const std::string& prefix,
                        const std::function<bool(const ListedObject&)>& visit);
  void learn_own_order(const std::string& words);
  VersionPage fetch_versions(S3Call& call, PageCheck& check);
  void note_versions(const HttpResponse& response);
  std::optional<ObjectInfo> look_up_by_head(const std::string& key, const Failure& why);

  const HttpStoreConfig config_;
  Clock& clock_;
  Retrier retrier_;
  ShutdownGrace grace_;
  ServiceClock service_clock_;
  CallSender sender_;
  const PerformCall perform_;
  LearnedPieces learned_;
  UnverifiedNotice unverified_;
  enum class Knows : std::uint8_t { not_tried, yes, no };
  std::atomic<Knows> knows_many_{Knows::not_tried};  // DeleteObjects
  RemovalPace removal_pace_;
  // The order of keys in listings. `its_own` once a page has shown that.
  enum class KnownOrder : std::uint8_t { not_seen, by_bytes, its_own };
  std::atomic<KnownOrder> order_;
  std::atomic<bool> keeps_versions_{false};
  WorkerPool removers_;
};

}  // namespace nbdstack
