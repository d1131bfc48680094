#include "common/nbdkit/next_layer.hpp"

#include <algorithm>
#include <limits>

#include "common/error.hpp"
#include "common/nbdkit/conversions.hpp"
#include "common/nbdkit/this_server.hpp"

namespace nbdstack {
namespace {

// nbdkit's bound for one read or write; a multiple of every block size.
constexpr std::uint64_t kLongestTransfer = 64ULL << 20;
// zero, trim, cache and extents carry 32-bit lengths; cut at a multiple of every block size.
constexpr std::uint64_t kLongestCommand = 1ULL << 31;
// nbdkit 1.32 emulates a zero that the plugin refuses with EOPNOTSUPP, and then zeroes its first 64
// MiB only, without an error. Only the request shows which plugin refuses; a disk that reports its
// identity (common/block/disk_identity.hpp) is one of ours, which never does.
constexpr std::uint64_t kLongestEmulatedZero = 64ULL << 20;
// Clients query the same length: cut shorter, each query would become two.
constexpr std::uint64_t kLongestQuestion = 0xffff0000;

// Takes the reply to a capability query: -1 means that it failed, and has been logged.
int answer(int result) {
  if (result == -1) throw Error::reported(EIO);
  return result;
}

// Calls the layer below, which stores the errno of a failure through its argument; some calls do so
// only if 0 is stored there.
template <typename Call>
void attempt(Call&& call) {
  int code = 0;
  if (call(&code) == -1) throw Error::reported(code == 0 ? EIO : code);
}

void require(bool offered, const char* what) {
  if (!offered) throw Error(ENOTSUP, fmt::format("the layer below does not offer {}", what));
}

// Calls `piece(length, offset)` for consecutive parts of at most `longest` bytes.
template <typename Piece>
void in_pieces(std::uint64_t length, std::uint64_t offset, std::uint64_t longest, Piece&& piece) {
  while (length > 0) {
    const auto part = std::min(length, longest);
    piece(static_cast<std::uint32_t>(part), offset);
    offset += part;
    length -= part;
  }
}

// The limit of one read or write. A layer that states no maximum accepts what nbdkit accepts.
std::uint64_t longest_transfer(const LayerTraits& traits) {
  const std::uint64_t stated = traits.maximum_block_size;
  return stated == 0 ? kLongestTransfer : std::min(stated, kLongestTransfer);
}

LayerTraits ask_traits(nbdkit_next* next, bool readonly, bool parallel) {
  LayerTraits traits;
  const std::int64_t size = next->get_size(next);
  if (size == -1) throw Error::reported(EIO);
  traits.size_bytes = static_cast<std::uint64_t>(size);
  answer(next->block_size(next, &traits.minimum_block_size, &traits.preferred_block_size,
                          &traits.maximum_block_size));
  traits.parallel = parallel;
  traits.can_write = !readonly && answer(next->can_write(next)) != 0;
  traits.can_flush = answer(next->can_flush(next)) != 0;
  traits.can_extents = answer(next->can_extents(next)) != 0;
  traits.can_multi_conn = answer(next->can_multi_conn(next)) != 0;
  traits.cache = support_of(answer(next->can_cache(next)));
  if (traits.can_write) {
    traits.can_trim = answer(next->can_trim(next)) != 0;
    traits.zero = support_of(answer(next->can_zero(next)));
    traits.can_fast_zero = traits.zero != Support::none && answer(next->can_fast_zero(next)) != 0;
    traits.fua = support_of(answer(next->can_fua(next)));
  }
  return traits;
}

struct ExtentsDeleter {
  void operator()(nbdkit_extents* extents) const { nbdkit_extents_free(extents); }
};

}  // namespace

NextLayer::NextLayer(nbdkit_next* next, bool readonly, const BelowFilter& about)
    : next_(next),
      traits_(ask_traits(next, readonly, about.is_parallel())),
      shows_plugins_disk_(about.shows_plugins_disk),
      meters_(about.meters) {}

void NextLayer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  std::byte* position = buffer.data();
  in_pieces(
      buffer.size(), offset, longest_transfer(traits_),
      [&](std::uint32_t length, std::uint64_t at) {
        attempt([&](int* code) { return next_->pread(next_, position, length, at, 0, code); });
        meters_.reads.count(length);
        position += length;
      });
}

void NextLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                       Durability durability) {
  require(traits_.can_write, "writing");
  require(durability != Durability::fua || traits_.fua != Support::none, "FUA");
  const std::byte* position = buffer.data();
  in_pieces(buffer.size(), offset, longest_transfer(traits_),
            [&](std::uint32_t length, std::uint64_t at) {
              attempt([&](int* code) {
                return next_->pwrite(next_, position, length, at, flags_of(durability), code);
              });
              meters_.writes.count(length);
              position += length;
            });
}

void NextLayer::flush() {
  require(traits_.can_flush, "flush");
  attempt([&](int* code) { return next_->flush(next_, 0, code); });
  meters_.flushes.count(0);
}

void NextLayer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  require(traits_.zero != Support::none, "zero");
  require(options.durability != Durability::fua || traits_.fua != Support::none, "FUA");
  if (options.fast && !traits_.can_fast_zero) {
    throw Error(ENOTSUP, "the layer below has no fast zero");
  }
  const std::uint64_t longest = identity() == nullptr ? kLongestEmulatedZero : kLongestCommand;
  in_pieces(length, offset, longest, [&](std::uint32_t part, std::uint64_t at) {
    attempt([&](int* code) { return next_->zero(next_, part, at, flags_of(options), code); });
    meters_.zeros.count(part);
  });
}

void NextLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  require(traits_.can_trim, "trim");
  require(durability != Durability::fua || traits_.fua != Support::none, "FUA");
  in_pieces(length, offset, kLongestCommand, [&](std::uint32_t part, std::uint64_t at) {
    attempt([&](int* code) { return next_->trim(next_, part, at, flags_of(durability), code); });
    meters_.trims.count(part);
  });
}

void NextLayer::cache(std::uint64_t length, std::uint64_t offset) {
  require(traits_.cache != Support::none, "cache");
  in_pieces(length, offset, kLongestCommand, [&](std::uint32_t part, std::uint64_t at) {
    attempt([&](int* code) { return next_->cache(next_, part, at, 0, code); });
  });
}

void NextLayer::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                        ExtentList& extents) {
  if (!traits_.can_extents) {
    extents.append({offset, length}, kData);
    return;
  }
  const auto part = static_cast<std::uint32_t>(std::min(length, kLongestQuestion));
  const std::unique_ptr<nbdkit_extents, ExtentsDeleter> found(
      nbdkit_extents_new(offset, traits_.size_bytes));
  if (found == nullptr) throw Error::reported(errno);
  attempt([&](int* code) {
    return next_->extents(next_, part, offset, only_one ? NBDKIT_FLAG_REQ_ONE : 0, found.get(),
                          code);
  });
  const Range asked{offset, length};
  for (std::size_t i = 0; i < nbdkit_extents_count(found.get()); ++i) {
    const nbdkit_extent extent = nbdkit_get_extent(found.get(), i);
    extents.append(asked.intersection({extent.offset, extent.length}), extent_type_of(extent.type));
  }
}

std::shared_ptr<const DiskIdentity> NextLayer::identity() {
  if (!shows_plugins_disk_) return nullptr;
  const char* const description = next_->export_description(next_);
  if (description == nullptr) return nullptr;
  const MutexLock lock(mutex_);
  if (description_ != description) {
    const auto told = DiskIdentity::parse(description);
    const bool is_known = told && (told->server.empty() || told->server == this_server());
    identity_ = is_known ? std::make_shared<const DiskIdentity>(*told) : nullptr;
    description_ = description;
  }
  return identity_;
}

namespace {

// A connection to the chain below that belongs to no client: opened and prepared on construction,
// finalized and closed on destruction.
class OwnConnection {
 public:
  explicit OwnConnection(nbdkit_backend* backend)
      : next_(nbdkit_next_context_open(backend, 0, "", 1)) {
    if (next_ == nullptr) throw Error::reported(EIO);
    if (next_->prepare(next_) == -1) {
      nbdkit_next_context_close(next_);
      throw Error::reported(EIO);
    }
  }
  OwnConnection(const OwnConnection&) = delete;
  OwnConnection& operator=(const OwnConnection&) = delete;
  ~OwnConnection() {
    next_->finalize(next_);
    nbdkit_next_context_close(next_);
  }
  [[nodiscard]] nbdkit_next* next() const { return next_; }

 private:
  nbdkit_next* next_;
};

// The seat of the layers below, if they have only one.
class OwnSeat {
 public:
  explicit OwnSeat(SingleSeat* seat) : seat_(seat) {
    if (seat_ != nullptr && !seat_->try_take()) {
      throw Error(EBUSY,
                  "the plugin, or a filter below, serves one connection at a time, and that of a "
                  "client is not closed yet");
    }
  }
  OwnSeat(const OwnSeat&) = delete;
  OwnSeat& operator=(const OwnSeat&) = delete;
  ~OwnSeat() {
    if (seat_ != nullptr) seat_->leave();
  }

 private:
  SingleSeat* const seat_;
};

// The bases are constructed in this order and destroyed in the reverse: the connection exists
// before the layer queries its capabilities, and is closed before the seat is left.
class BackgroundLayer final : private OwnSeat, private OwnConnection, public NextLayer {
 public:
  BackgroundLayer(nbdkit_backend* backend, SingleSeat* seat, const BelowFilter& about)
      : OwnSeat(seat), OwnConnection(backend), NextLayer(next(), false, about) {}
};

}  // namespace

std::unique_ptr<Layer> NbdkitBackend::open_default_export() {
  return std::make_unique<BackgroundLayer>(backend_, serves_beside_clients() ? nullptr : &seat_,
                                           about_);
}

}  // namespace nbdstack
