#include "tests/crash/hosts_server.hpp"

#include <span>
#include <utility>

#include "common/error.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/lease/leased_disk.hpp"
#include "plugins/s3/volume/volume_identity.hpp"
#include "plugins/s3/volume/volume_open.hpp"
#include "tests/crash/hosts_oracle.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::chrono::seconds kTimeout{60};

VolumeRequest request() {
  return {.bucket = "b", .key = "disk", .size_bytes = kHostsSize, .object_size = kHostsObject};
}

CacheIdentity wanted() {
  return {.export_name = "", .disk_size_bytes = kHostsSize, .block_size_bytes = kHostsBlock};
}

std::optional<BlockRecord> read_block_record(ObjectStore& store) {
  const std::string name = block_record_key("disk");
  const auto text = store.get_text(name, block_record_bytes_max(kHostsPages));
  if (!text.has_value()) return std::nullopt;
  return BlockRecord::parse(std::as_bytes(std::span(*text)), name);
}

}  // namespace

// What is below, but for what it tells of its disk.
class HostsServer::Hiding final : public Layer {
 public:
  Hiding(std::unique_ptr<Layer> below, DiskIdentity identity, const TakenOut& taken_out)
      : below_(std::move(below)), identity_(std::move(identity)), taken_out_(taken_out) {}

  [[nodiscard]] const LayerTraits& traits() const override { return below_->traits(); }
  std::shared_ptr<const DiskIdentity> identity() override {
    DiskIdentity told = identity_;
    if (taken_out_.hides_terms) told.term = WriterTerm{.term = 1, .since = 1};
    told.right = taken_out_.never_loses ? WriteRight::held : below_->identity()->right;
    return std::make_shared<const DiskIdentity>(told);
  }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    below_->pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    below_->pwrite(buffer, offset, durability);
  }
  void flush() override { below_->flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    below_->zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    below_->trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { below_->cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    below_->extents(length, offset, only_one, extents);
  }

 private:
  const std::unique_ptr<Layer> below_;
  const DiskIdentity identity_;
  const TakenOut& taken_out_;
};

HostsServer::HostsServer(const Surroundings& around, const ServerSettings& settings)
    : around_(around),
      settings_(settings),
      lease_store_(around.cloud, around.wire, settings.life) {}

void HostsServer::open(const std::function<void()>& owns) {
  CloudStore store(around_.cloud, around_.wire, settings_.life);
  layout_ = open_volume(store, request());
  const BlockGeometry geometry(layout_.size_bytes, layout_.object_size);
  memory_.emplace(RememberedVolume{.place = layout_.place,
                                   .key = layout_.key,
                                   .id = layout_.id,
                                   .block_count = geometry.block_count()},
                  around_.processes);
  lease_.emplace(
      LeaseSettings{
          .volume = layout_.place, .volume_key = layout_.key, .ownership = settings_.ownership},
      around_.clock, around_.processes);
  try {
    lease_->acquire(lease_store_);
  } catch (...) {
    lease_.reset();
    throw;
  }
  owns();
  recall_blocks(store);
}

void HostsServer::recall_blocks(ObjectStore& store) {
  if (store.lists_are_proof()) return;
  if (layout_.is_new && !lease_->predecessor().has_value()) {
    known_blocks_ = no_blocks_stored(BlockGeometry(kHostsSize, kHostsObject).block_count());
    return;
  }
  auto predecessor = lease_->predecessor();
  if (around_.taken_out.believes_every_record) {
    const auto record = read_block_record(store);
    if (record.has_value() && predecessor.has_value() && predecessor->record.has_value()) {
      predecessor->record->owner = record->owner;
      predecessor->record->state = LeaseRecord::State::released;
    }
  }
  known_blocks_ = memory_->recall(store, predecessor);
}

void HostsServer::serve() {
  lease_->settle(lease_store_);
  const auto may_write = [this] { return lease_->may_write(); };
  map_ = std::make_shared<PresenceMap>(may_write, std::exchange(known_blocks_, KnownBlocks()));
  const bool never_loses = around_.taken_out.never_loses;
  store_.emplace(around_.cloud, around_.wire, settings_.life,
                 never_loses ? std::function<bool()>() : may_write);
  const ChangeGuard guard{
      .conditions = lease_->conditions(), .bound = kTimeout, .clock = &around_.clock};
  auto volume = std::make_unique<Volume>(
      *store_, layout_.format, BlockGeometry(layout_.size_bytes, layout_.object_size),
      VolumeOptions{.connections = 1,
                    .guard = guard,
                    .map = map_,
                    .witness = ObjectNames(layout_.key).descriptor()});
  volume->wait_until_listed();  // by a thread of its own: in one order with all that follows
  const DiskIdentity identity = identity_of_volume(layout_, "s3://b", lease_->term());
  disk_ = std::move(volume);
  if (!never_loses) disk_ = std::make_unique<LeasedDisk>(std::move(disk_), *lease_, identity);
  if (around_.taken_out.hides_terms || never_loses) {
    disk_ = std::make_unique<Hiding>(std::move(disk_), identity, around_.taken_out);
  }
  is_kept_ = true;
  told_ = disk_->identity();
  client_ = disk_.get();
}

void HostsServer::open_cache(std::unique_ptr<Directory> directory) {
  if (!settings_.has_cache) return;
  const CacheSettings settings{.flush = settings_.flush_to,
                               .block_size = kHostsBlock,
                               .max_size_bytes = settings_.cache_blocks * kHostsBlock,
                               .cache_on_read = [reads = settings_.caches_reads] { return reads; }};
  watch_ = std::make_shared<DiskWatch>(told_, true);
  watch_->admit(*disk_);
  home_ = std::make_shared<CacheDirectory>(std::move(directory));
  const StaleDirty policy =
      around_.taken_out.always_forces ? StaleDirty::force : settings_.stale_dirty;
  TakingOver taking(home_, wanted(), disk_->identity(), policy);
  std::unique_ptr<SlotStore> store =
      taking.prepare(std::make_unique<DurableStore>(std::make_unique<StoreDirectory>(home_),
                                                    kHostsBlock, kHostsSize),
                     *disk_, settings_.seed);
  cache_ = std::make_shared<BlockCache>(settings, kHostsSize, std::move(store), no_threads_,
                                        no_threads_);
  taking.record();
  watch_->set_hooks({.record_term =
                         [home = home_, identity = taking.identity()](std::uint64_t term) mutable {
                           identity.term = term;
                           home->record(identity);
                         },
                     .unwritten_bytes = [] { return std::uint64_t{0}; }});
  own_client_ = std::make_unique<CacheLayer>(*disk_, cache_, settings,
                                             around_.taken_out.asks_nobody ? nullptr : watch_);
  client_ = own_client_.get();
}

void HostsServer::tend() {
  if (is_kept_) lease_->tend();
}

bool HostsServer::may_write_back() {
  return around_.taken_out.asks_nobody || watch_->may_write_back(*disk_);
}

void HostsServer::work_in_background(TimePoint now) {
  if (cache_ == nullptr) return;
  if (cache_->background().may_work_below(now) && may_write_back()) {
    cache_->background().step(*disk_, now);
  } else {
    cache_->background().step_here(now);
  }
}

// The last client leaves, and then the filter ends. What fails stays in the directory.
void HostsServer::write_back_all() {
  const auto careful = [](const std::function<void()>& step) {
    try {
      step();
    } catch (const Error&) {
    }
  };
  careful([&] {
    if (own_client_ != nullptr) own_client_->finalize();
  });
  careful([&] {
    if (!may_write_back()) return;
    cache_->write_back_all(*disk_);
    disk_->flush();
  });
}

bool HostsServer::stop() {
  bool is_stored = true;
  if (cache_ != nullptr) {
    write_back_all();
    is_stored = !cache_->has_unwritten();
    if (!home_->is_pending()) cache_->close();
  }
  own_client_.reset();
  disk_.reset();
  store_.reset();
  if (!lease_.has_value()) return is_stored;
  if (lease_->may_write() && map_ != nullptr) {
    CloudStore store(around_.cloud, around_.wire, settings_.life);
    memory_->remember(store, lease_->conditions(), lease_->owner(), map_->known());
  }
  is_kept_ = false;
  lease_->release();
  return is_stored;
}

}  // namespace nbdstack::testing
