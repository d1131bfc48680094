#include "plugins/s3/command/version_removal.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/command/bounded_work.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/lease/lease_record.hpp"

namespace nbdstack {
namespace {

constexpr const char* kUnversioned = "null";  // the id of objects written without versions

class Pass {
 public:
  Pass(ObjectStore& store, const VersionScope& scope, const ChangeOptions& options)
      : store_(store), scope_(scope), options_(options) {}

  // Removes those versions of the scope that `choose` picks. It is called with each version and
  // with the next one in the listing, if there is one.
  using Choose = std::function<bool(const ListedVersion&, const ListedVersion* next)>;

  void run(const Choose& choose) {
    BoundedWork<std::vector<Removal>> removing(
        options_.requests, [&](const std::vector<Removal>& removals) {
          if (options_.check_writable) options_.check_writable();
          Doubt doubt;  // a late execution is harmless: an id names this version for ever
          store_.remove_matching(removals, doubt);
          const MutexLock lock(counting_);
          removed_ += removals.size();
          if (options_.progress) options_.progress(removed_);
        });
    std::vector<Removal> batch;
    bool wanted = true;
    std::optional<ListedVersion> before;
    const auto decide = [&](const ListedVersion* next) {
      if (!before.has_value() || !choose(*before, next)) return;
      batch.push_back({.key = before->key, .etag = {}, .version_id = before->version_id});
      if (batch.size() == BlockObjects::kBatch) wanted = removing.give(std::exchange(batch, {}));
    };
    store_.list_versions(scope_.prefix, [&](const ListedVersion& version) {
      if (!scope_.is_ours(version.key)) return true;
      decide(&version);
      before = version;
      return wanted;
    });
    if (wanted) decide(nullptr);
    if (wanted && !batch.empty()) removing.give(std::move(batch));
    removing.finish();
  }

  [[nodiscard]] std::uint64_t removed() const {
    const MutexLock lock(counting_);
    return removed_;
  }

 private:
  ObjectStore& store_;
  const VersionScope& scope_;
  const ChangeOptions& options_;
  mutable Mutex counting_;
  std::uint64_t removed_ GUARDED_BY(counting_) = 0;
};

}  // namespace

VersionScope VersionScope::of(const FoundVolume& volume) {
  VersionScope scope{.prefix = volume.names->prefix(), .is_ours = {}};
  if (volume.kind == FoundKind::s3backer) {
    scope.is_ours = [names = volume.names, token = volume.mount_token](const std::string& key) {
      return key == token || names->parse_name(key).has_value();
    };
    return scope;
  }
  const std::string below = volume.key.empty() ? "" : volume.key + "/";
  scope.is_ours = [names = volume.names, probes = below + "nbdstack-probe-",
                   others = std::vector{ObjectNames(volume.key).descriptor(),
                                        lease_object_key(volume.key),
                                        block_record_key(volume.key)}](const std::string& key) {
    return names->parse_name(key).has_value() || key.starts_with(probes) ||
           std::ranges::find(others, key) != others.end();
  };
  return scope;
}

bool has_old_versions(ObjectStore& store, const VersionScope& scope) {
  bool is_found = false;
  store.list_versions(scope.prefix, [&](const ListedVersion& version) {
    is_found = scope.is_ours(version.key) && (!version.is_latest || version.is_marker);
    return !is_found;
  });
  return is_found;
}

FoundVolume find_volume_or_versions(ObjectStore& store, const VolumeRequest& request) {
  try {
    return find_volume(store, request);
  } catch (const Error& error) {
    if (error.code() != ENOENT || request.layout == Layout::s3backer) throw;
    FoundVolume remains = no_volume(request);
    if (!has_old_versions(store, VersionScope::of(remains))) throw;
    return remains;
  }
}

std::uint64_t remove_old_versions(ObjectStore& store, const VersionScope& scope,
                                  const ChangeOptions& options, bool holds_right) {
  Pass pass(store, scope, options);
  pass.run([](const ListedVersion& version, const ListedVersion* /*next*/) {
    return !version.is_latest;
  });
  pass.run([&](const ListedVersion& version, const ListedVersion* next) {
    const bool is_last = next == nullptr || next->key != version.key;
    return version.is_latest && version.is_marker && is_last &&
           (holds_right || version.version_id != kUnversioned);
  });
  return pass.removed();
}

}  // namespace nbdstack
