// Which store the parameters ask for: a directory for file:///DIR, an S3 service for everything
// else.
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

#include "common/sync/clock.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/service_options.hpp"

namespace nbdstack {

struct StoreSettings {
  std::string bucket;
  std::string endpoint_url;  // empty: AWS, in the region that is found
  CredentialParameters identity;
  unsigned connections = 16;
  std::uint64_t timeout_ms = 60'000;
  unsigned retries = kRetries_unlimited;
  std::string ca_file;  // empty: the system's
  bool tls_verify = true;
  std::optional<bool> virtual_host;  // nothing: as the profile has it
  ServiceOptions options;
};

// How a store's requests wait, and what ends them. The clock outlives the store.
struct Waiting {
  Clock& clock;
  // Asked from time to time whether the server has been told to stop (shutdown_grace.hpp tells what
  // that means). Empty: never.
  std::function<bool()> stopping{};
  // Asked whether objects may still be changed: no ends every such request before its next byte is
  // sent. Empty: always.
  std::function<bool()> may_write{};
  std::string volume_key{};  // whose objects those are; only with may_write
  // Instead of the settings', and of the whole time of an operation, for small requests that come
  // in time or are of no use: they share neither connections nor bandwidth limits with others.
  std::optional<std::chrono::milliseconds> timeout{};
};

class StoreFactory {
 public:
  // Throws Error(EINVAL) that names the parameter, or what find_credentials throws.
  StoreFactory(const StoreSettings& settings, const Environment& environment);

  // For the start of the server: throws what would be wrong with every request. `key` is the
  // volume's; with `may_create`, a bucket that is a directory is made.
  [[nodiscard]] std::unique_ptr<ObjectStore> make_checked(const std::string& key, bool may_create,
                                                          const Waiting& waiting) const;

  [[nodiscard]] std::unique_ptr<ObjectStore> make(const Waiting& waiting) const;

  [[nodiscard]] bool is_directory() const { return std::holds_alternative<DirectoryPlace>(place_); }
  // Where the bucket is: "https://s3.example.com/BUCKET", "file:///DIR/BUCKET". Once a request has
  // succeeded that is the same however its region was found.
  [[nodiscard]] std::string place() const;

  // The longest time for which an operation goes on without getting on; zero for a directory, whose
  // operations end when they are done.
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
