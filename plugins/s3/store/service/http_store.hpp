// ObjectStore over S3's REST interface.
//
//   get        GET, and the whole body is checked against x-amz-meta-nbdstack-xxh3 where the object
//              has it (one written by somebody else need not)
//   get_range  GET with Range; the answer must be 206 with exactly that Content-Range. The range is
//              widened to what x-amz-meta-nbdstack-pieces can verify; of an object that an older
//              version stored without it, the whole is read once (part_read.hpp)
//   fetch      GET, checked by all that the object carries, and by what its reader knows of it
//   look_up    GET of the first byte: its Content-Range tells the size and, unlike HEAD's, its
//              errors have a body that says what is wrong. HEAD where the answer tells no size:
//              services have called the range wrong, or an object empty that is not
//   put        PUT with the attributes as headers, Content-MD5, x-amz-content-sha256 and the checksums
//              above (XXH3-128 of the body, hex; piece_checksums.hpp)
//   remove     DeleteObjects, as many keys in one request as the service removes in good time
//              (removal_pace.hpp); DELETE for a single key, and for each, several at a time, where
//              the service has no DeleteObjects, which is found out once
//   list_versions  ListObjectVersions
//   list       ListObjectsV2; a page that does not fit what was asked for (list_page.hpp) is asked
//              for again, and then an error; http_store_listing.cpp tells of services whose order
//              is their own
//
// Requests that change something are sent only while `may_write` says yes, which is asked before
// each piece of a body: what was begun in time is not finished when the right to write has ended.
//
// A missing object reads as zeros in a volume, so "missing" is believed only of an S3 service that
// says so (NoSuchKey): the 404 of a misled proxy is an error.
//
// remove_matching is DeleteObjects with an ETag for each key, or without where any version is meant;
// and DELETE with If-Match where there is no DeleteObjects.
//
// Create-only is If-None-Match: *, and a put over a certain ETag If-Match. When an attempt's answer
// was lost and the next one finds that the condition no longer holds, the object is read back: equal
// bytes are ours, and the result is `stored`; so two writers that use conditions must not write
// equal bytes. A service that knows no conditions answers 501: unsupported. Others say so with 400, 403,
// 405 or 409, which is believed where it is tried what they know (PutOptions::is_trial).
//
// Each attempt is signed anew with the present time, corrected by what the service said about our
// clock (RequestTimeTooSkewed), and with the credentials of that moment. One that the service refuses
// because of them (expired, invalid, unknown) is sent once more with new ones where there are any;
// one that it answers with the region where the bucket is goes there at once (bucket_location.hpp).
// Requests to a directory bucket are signed with a session's (express_session.hpp). Such a bucket knows
// no Content-MD5: x-amz-checksum-sha256 takes its place.
// Anonymous requests are not signed. See retry.hpp for what is tried again, and how long.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "common/hash/digest.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/aws/credential_source.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/http/http_client.hpp"
#include "plugins/s3/store/learned_pieces.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/part_read.hpp"
#include "plugins/s3/store/service/bucket_location.hpp"
#include "plugins/s3/store/service/express_session.hpp"
#include "plugins/s3/store/service/shutdown_grace.hpp"
#include "plugins/s3/store/service/list_page.hpp"
#include "plugins/s3/store/service/removal_pace.hpp"
#include "plugins/s3/store/service/service_options.hpp"
#include "plugins/s3/store/unverified_notice.hpp"

namespace nbdstack {

struct HttpStoreConfig {
  std::string bucket;  // for messages
  std::shared_ptr<BucketLocation> location;
  std::shared_ptr<CredentialSource> credentials;
  std::shared_ptr<ExpressSession> session;  // of a directory bucket; null: it is none
  unsigned connections = 16;
  std::uint32_t timeout_ms = 60'000;  // of one operation with all its attempts, but for the time in
                                      // which they get on
  TransferTime time = TransferTime::of_silence;  // whole: without that exception
  unsigned retries = kRetries_unlimited;
  std::string ca_file;  // empty: the system's
  bool tls_verify = true;
  ServiceOptions options;
  // The service is known to list keys in an order of its own; else that is found out.
  bool lists_unsorted = false;
  std::function<bool()> stopping;   // the server has been told to stop; empty: never
  std::function<bool()> may_write;  // objects may be changed at this moment; empty: always
};

class HttpStore final : public ObjectStore {
 public:
  // Connects to nothing yet: a store may be made before the server forks, but must not be used
  // before and after it.
  HttpStore(const HttpStoreConfig& config, Clock& clock);

  // Throws what would be wrong with every request: endpoint, credentials, bucket, permission to
  // list. Meant for the start: it gives up sooner than other operations.
  void check_bucket(const std::string& prefix);

  bool get(const std::string& key, std::span<std::byte> body) override;
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override;
  std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) override;
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    return fetch_checked(key, buffer, {});
  }
  std::optional<ObjectInfo> fetch_checked(const std::string& key, std::span<std::byte> buffer,
                                          const Check& check) override;
  std::optional<ObjectInfo> look_up(const std::string& key) override;
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override;
  void remove(std::span<const std::string> keys) override;
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

  // Reads of parts that wait for another one to read the same object whole: for tests.
  [[nodiscard]] std::size_t waiting_for_whole() const { return learned_.waiting(); }

 private:
  struct Call;
  // Nothing: the answer is what was wanted.
  using Judge = std::function<std::optional<Failure>(const HttpResponse&)>;

  static Call get_call(const std::string& key, std::span<std::byte> buffer,
                       const std::string& etag = {});
  bool get_part_of_whole(const std::string& key, PartRead& read, const ObjectPart& part);
  [[nodiscard]] std::string url_of(const std::string& key) const;

  void run(Call& call, const Judge& judge) { run(call, judge, retrier_); }
  void run(Call& call, const Judge& judge, Retrier& retrier);
  std::optional<Failure> attempt(Call& call, const Judge& judge, Duration time_left);
  std::optional<Failure> judge_outcome(Call& call, const Judge& judge, const HttpOutcome& outcome);
  HttpOutcome send(Call& call, Duration time_left);
  // Both: nothing, or why the request could not be sent.
  std::optional<Failure> send_where_it_belongs(Call& call, TimePoint deadline,
                                               HttpOutcome& outcome);
  std::optional<Failure> authorise(Call& call, TimePoint deadline);
  std::variant<NewSession, Failure> create_session(const Call& purpose, TimePoint deadline);
  bool renew_credentials(const Call& call);
  [[nodiscard]] Header digest_header(std::span<const std::byte> body,
                                     const Sha256Digest& digest) const;
  bool learn_clock(const Call& call, const HttpResponse& response);
  [[nodiscard]] bool is_over(const Call& call);
  // For a call that was given up: throws if that is not just because the server stops.
  void throw_why_over(const Call& call, const std::string& operation);
  [[nodiscard]] bool may_send(const Call& call) const;

  Call put_call(const std::string& key, std::span<const std::byte> body,
                const PutOptions& options) const;
  PutOutcome put_unconditionally(const std::string& key, std::span<const std::byte> body,
                                 const PutOptions& options);
  PutOutcome put_on_condition(const std::string& key, std::span<const std::byte> body,
                              const PutOptions& options);
  std::optional<std::string> etag_if_holds(const std::string& key, std::span<const std::byte> body);
  // False: it is another version.
  bool remove_one(const Removal& removal, Doubt& doubt);
  enum class Many : std::uint8_t {
    done,
    not_known,  // the service may have no such request
    too_slow,   // it did not answer in time: fewer at a time
  };
  Many remove_many(std::span<const Removal> removals, Doubt& doubt,
                   std::vector<std::string>& refused);
  void remove_each(std::span<const Removal> removals, Doubt& doubt,
                   std::vector<std::string>& refused);
  static void note_doubt(Call& call, const HttpOutcome& outcome);
  Call list_call(const std::string& prefix, unsigned keys_max) const;
  // `check`: what the page must fit, which is told of it; null: any will do. Nothing: its keys are
  // in another order, and `check` wants them in theirs.
  std::optional<ListPage> fetch_page(Call& call, Retrier& retrier, PageCheck* check);
  void list_as_it_comes(const std::string& prefix,
                        const std::function<bool(const ListedObject&)>& visit);
  void learn_own_order(const std::string& words);
  VersionPage fetch_versions(Call& call, PageCheck& check);
  void note_versions(const HttpResponse& response);
  std::optional<ObjectInfo> look_up_by_head(const std::string& key, const Failure& why);
  HttpClient& client();

  const HttpStoreConfig config_;
  Clock& clock_;
  Retrier retrier_;
  ShutdownGrace grace_;
  LearnedPieces learned_;
  UnverifiedNotice unverified_;
  enum class Knows : std::uint8_t { not_tried, yes, no };
  std::atomic<Knows> knows_many_{Knows::not_tried};  // DeleteObjects
  RemovalPace removal_pace_;
  // Of keys in listings. The service is taken to have its own when a page shows that.
  enum class KnownOrder : std::uint8_t { not_seen, by_bytes, its_own };
  std::atomic<KnownOrder> order_;
  std::atomic<bool> keeps_versions_{false};
  WorkerPool removers_;
  std::once_flag client_made_;
  std::unique_ptr<HttpClient> client_;
  // Seconds that the service's clock is ahead of ours.
  std::atomic<std::int64_t> clock_offset_s_{0};
};

}  // namespace nbdstack
