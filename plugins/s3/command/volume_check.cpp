#include "plugins/s3/command/volume_check.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <span>

#include "common/error.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/command/bounded_work.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/lease/lease_record.hpp"

namespace nbdstack {
namespace {

class Check {
 public:
  Check(ObjectStore& store, const VolumeLayout& layout, const CheckEvents& events,
        const std::optional<Renewal>& renewal)
      : store_(store),
        layout_(layout),
        format_(*layout.format),
        events_(events),
        renewal_(renewal),
        end_(BlockGeometry(layout.size_bytes, layout.object_size).block_count()) {}

  CheckResult run(std::size_t requests) {
    BoundedWork<BlockNumber> reading(requests, [this](BlockNumber block) { look_at(block); });
    store_.list_in_any_order(format_.prefix(), [&](const ListedObject& object) {
      const auto block = format_.parse_name(object.key);
      if (block.has_value() && block->value < end_) return reading.give(*block);
      if (block.has_value() || !is_ours(object.key)) {
        const MutexLock lock(mutex_);
        (block.has_value() ? result_.behind_end : result_.foreign).add(object.key);
      }
      return true;
    });
    reading.finish();
    const MutexLock lock(mutex_);
    return result_;
  }

 private:
  struct GoodObject {
    std::uint64_t size_bytes = 0;
    std::optional<ChecksumKind> lacking{};  // its checksum, if that is less than it should be
    bool is_renewed = false;
  };

  void look_at(BlockNumber block) {
    const std::string name = format_.name_of(block);
    std::optional<Error> fault;
    GoodObject good;
    std::optional<ObjectInfo> object;
    std::vector<std::byte> body(layout_.object_size + format_.overhead_bytes());
    try {
      object = store_.fetch_checked(name, body, [&](const ObjectInfo& read, const auto& came) {
        good = verify(block, name, came, read);
      });
      if (!object.has_value()) return;
      body.resize(object->size_bytes);
    } catch (const Error& error) {
      if (error.code() != EIO && error.code() != EACCES) throw;
      fault = error;
    }
    if (fault.has_value() && !is_there(name, *fault)) return;
    if (good.lacking.has_value() && renewal_.has_value()) {
      good.is_renewed = renew(name, body, *object);
    }
    count(block, good, fault.has_value() ? fault->what() : "");
  }

  // Returns false if the object was removed meanwhile. Throws if the fault is not the object's but
  // the service's or the credentials': a query of the object, too, may be refused for a reason of
  // its own (it is archived, say), but then queries of others are answered.
  bool is_there(const std::string& name, const Error& fault) {
    bool is_found = false;
    try {
      is_found = store_.look_up(name).has_value();
    } catch (const Error& error) {
      if (error.code() != EACCES || !others_are_answered()) throw;
      return true;
    }
    if (fault.code() == EACCES) throw fault;
    return is_found;
  }

  bool others_are_answered() {
    try {
      store_.look_up(ObjectNames(layout_.key).descriptor());
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  // `fault` is empty for a good object.
  void count(BlockNumber block, const GoodObject& good, const std::string& fault) {
    const MutexLock lock(mutex_);
    ++result_.objects;
    if (format_.names_are_ordered()) {
      const double position =
          100.0 * static_cast<double>(block.value + 1) / static_cast<double>(end_);
      result_.position_percent = std::max(position, result_.position_percent.value_or(0));
    }
    if (fault.empty()) {
      result_.bytes += good.size_bytes;
      if (good.lacking.has_value()) result_.old.add(format_.name_of(block), *good.lacking);
      if (good.is_renewed) ++result_.old.renewed;
    } else {
      ++result_.damaged;
      events_.damaged(format_.name_of(block), fault);
    }
    if (events_.progress) events_.progress(result_);
  }

  GoodObject verify(BlockNumber block, const std::string& name, std::span<const std::byte> body,
                    const ObjectInfo& object) const {
    GoodObject good{.size_bytes = object.size_bytes};
    if (format_.is_stored_plain(object)) {
      if (layout_.layout == Layout::own && object.checksum < wanted_checksum()) {
        good.lacking = object.checksum;
      }
      return good;
    }
    if (format_.is_plain()) {
      throw Error(EIO, fmt::format("{}: {} bytes long, where {} are expected", name,
                                   object.size_bytes, layout_.object_size));
    }
    std::vector<std::byte> data(layout_.object_size);
    format_.decode(block, body, object.attributes, data);
    return good;
  }

  // Only plain volumes are read in parts.
  [[nodiscard]] ChecksumKind wanted_checksum() const {
    return format_.is_plain() ? ChecksumKind::pieces : ChecksumKind::whole;
  }

  // Returns false if another writer has replaced the object, and so given it checksums.
  bool renew(const std::string& name, std::span<const std::byte> body, const ObjectInfo& object) {
    renewal_->check_writable();
    PutOptions options{
        .attributes = object.attributes, .with_pieces = format_.is_plain(), .is_block = true};
    if (renewal_->conditions.honoured()) {
      options.mode = PutMode::if_match;
      options.etag = renewal_->conditions.etag_to_send(object.etag);
    }
    return store_.put(name, body, options).result == PutResult::stored;
  }

  [[nodiscard]] bool is_ours(const std::string& name) const {
    if (name == layout_.mount_token) return true;
    const std::string below = layout_.key.empty() ? "" : layout_.key + "/";
    return name == ObjectNames(layout_.key).descriptor() || name == lease_object_key(layout_.key) ||
           name == block_record_key(layout_.key) || name.starts_with(below + "nbdstack-probe-");
  }

  ObjectStore& store_;
  const VolumeLayout& layout_;
  const BlockFormat& format_;
  const CheckEvents& events_;
  const std::optional<Renewal>& renewal_;
  const std::uint64_t end_;  // the number of blocks
  Mutex mutex_;              // also held during each call of an event
  CheckResult result_ GUARDED_BY(mutex_);
};

}  // namespace

void OtherObjects::add(const std::string& name) {
  ++count;
  if (examples.size() < kExamples_max) examples.push_back(name);
}

CheckResult check_volume(ObjectStore& store, const VolumeLayout& layout, std::size_t requests,
                         const CheckEvents& events, const std::optional<Renewal>& renewal) {
  return Check(store, layout, events, renewal).run(requests);
}

}  // namespace nbdstack
