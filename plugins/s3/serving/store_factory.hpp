// Makes the store that the parameters select: a directory for file:///DIR, an S3 service for
// everything else.
//
// Credentials and endpoint are found once, by the constructor; stores can then be made as often as
// needed, also after a fork.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "common/metrics/registry.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/service_options.hpp"

namespace nbdstack {

struct StoreSettings {
  std::string bucket;
  std::string endpoint_url;  // AWS in the region that is found, if empty
  CredentialParameters identity;
  unsigned connections = 16;
  std::uint64_t timeout_ms = 60'000;
  unsigned retries = kRetries_unlimited;
  std::string ca_file;  // the system's if empty
  bool tls_verify = true;
  std::optional<bool> virtual_host;  // the profile's if not set
  ServiceOptions options;
};

// The waiting rules of a store's requests. The clock outlives the store.
struct Waiting {
  Clock& clock;
  // Returns whether the server has been told to stop (see shutdown_grace.hpp); called from time to
  // time. If empty, that never happens.
  std::function<bool()> stopping{};
  // Returns whether objects may still be changed: false ends every such request before its next
  // byte is sent. If empty, they always may.
  std::function<bool()> may_write{};
  std::string volume_key{};  // whose objects those are; only with may_write
  // Replaces the settings' timeout and the whole time of an operation, for small requests that are
  // useless when late: they share neither connections nor bandwidth limits with others.
  std::optional<std::chrono::milliseconds> timeout{};
};

class StoreFactory {
 public:
  // Throws Error(EINVAL) that names the parameter; exceptions of find_credentials() propagate.
  StoreFactory(const StoreSettings& settings, const Environment& environment,
               const Metrics& metrics = {});

  // Called at the start of the server: throws an error that every request would meet. `key` is the
  // volume's; with `may_create`, a bucket that is a directory is made.
  [[nodiscard]] std::unique_ptr<ObjectStore> make_checked(const std::string& key, bool may_create,
                                                          const Waiting& waiting) const;

  [[nodiscard]] std::unique_ptr<ObjectStore> make(const Waiting& waiting) const;

  [[nodiscard]] bool is_directory() const { return std::holds_alternative<DirectoryPlace>(place_); }
  // Returns the place of the bucket: "https://s3.example.com/BUCKET", "file:///DIR/BUCKET". After
  // the first successful request it no longer depends on how the region was found.
  [[nodiscard]] std::string place() const;

  // Returns the longest time for which an operation continues without progress; zero for a
  // directory, whose operations end when they are done.
  [[nodiscard]] std::chrono::milliseconds timeout() const;

 private:
  struct DirectoryPlace {
    std::string directory;
    std::string bucket;
  };

  [[nodiscard]] std::unique_ptr<HttpStore> make_http(const Waiting& waiting) const;

  std::variant<DirectoryPlace, HttpStoreConfig> place_;
};

}  // namespace nbdstack
