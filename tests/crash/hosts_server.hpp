// One life of a server: the s3 plugin's volume with its lease, and over it the cache with a
// directory, put together as ServedVolume and the cache filter do it, but driven by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/sync/worker_pool.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/serving/disk_watch.hpp"
#include "filters/cache/store/durable/taking_over.hpp"
#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/blocks/presence_map.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/crash/cloud.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

// What is taken out, as a control: the judge must find what it is good for.
struct TakenOut {
  CloudManners cloud{};
  bool hides_terms = false;            // the layers above see one term for ever
  bool never_loses = false;            // the lease says that it is held, whatever becomes of it
  bool asks_nobody = false;            // the cache does not ask the layer below before requests
  bool always_forces = false;          // no start is refused for dirty blocks
  bool believes_every_record = false;  // of blocks, whoever left it
};

struct ServerSettings {
  std::uint64_t life = 0;
  FlushTo flush_to = FlushTo::below;
  std::uint64_t cache_blocks = 2;
  bool caches_reads = true;
  bool has_cache = true;
  Ownership ownership = Ownership::automatic;
  StaleDirty stale_dirty = StaleDirty::refuse;
  std::uint64_t seed = 0;
};

class HostsServer {
 public:
  // All outlive this.
  struct Surroundings {
    Cloud& cloud;
    Wire& wire;
    Clock& clock;
    const Processes& processes;
    const TakenOut& taken_out;
  };

  HostsServer(const Surroundings& around, const ServerSettings& settings);
  HostsServer(const HostsServer&) = delete;
  HostsServer& operator=(const HostsServer&) = delete;

  // In this order; each may throw. `owns` is called when the right to write has been got.
  void open(const std::function<void()>& owns);
  void serve();
  // Throws Error(ESTALE) where a person has to decide.
  void open_cache(std::unique_ptr<Directory> directory);

  [[nodiscard]] Layer& client() { return *client_; }
  [[nodiscard]] WriterTerm term() const { return told_->term.value(); }
  [[nodiscard]] bool may_write() const { return lease_.has_value() && lease_->may_write(); }
  // As the thread of the lease, and that of the cache.
  void tend();
  void work_in_background(TimePoint now);

  // As a server that is told to stop. Returns whether everything is stored.
  bool stop();

 private:
  class Hiding;

  [[nodiscard]] bool may_write_back();
  void write_back_all();
  void recall_blocks(ObjectStore& store);

  const Surroundings around_;
  const ServerSettings settings_;
  WorkerPool no_threads_{0};
  VolumeLayout layout_;
  CloudStore lease_store_;
  std::optional<Lease> lease_;
  std::optional<BlockMemory> memory_;
  KnownBlocks known_blocks_;
  std::shared_ptr<PresenceMap> map_;
  std::optional<CloudStore> store_;
  std::unique_ptr<Layer> disk_;  // from serve() on
  bool is_kept_ = false;         // the lease is renewed
  std::shared_ptr<const DiskIdentity> told_;
  std::shared_ptr<CacheDirectory> home_;
  std::shared_ptr<DiskWatch> watch_;
  std::shared_ptr<BlockCache> cache_;
  std::unique_ptr<Layer> own_client_;
  Layer* client_ = nullptr;
};

}  // namespace nbdstack::testing
