#include "plugins/s3/command/volume_check.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <span>

#include "common/error.hpp"
#include "plugins/s3/command/bounded_work.hpp"
#include "plugins/s3/lease_record.hpp"
#include "plugins/s3/object_names.hpp"

namespace nbdstack {
namespace {

class Check {
 public:
  Check(ObjectStore& store, const VolumeLayout& layout, const CheckEvents& events)
      : store_(store),
        layout_(layout),
        format_(*layout.format),
        events_(events),
        end_(BlockGeometry(layout.size_bytes, layout.object_size).block_count()) {}

  CheckResult run(std::size_t requests) {
    BoundedWork<BlockNumber> reading(requests, [this](BlockNumber block) { look_at(block); });
    store_.list(format_.prefix(), "", [&](const ListedObject& object) {
      const auto block = format_.parse_name(object.key);
      if (block.has_value() && block->value < end_) return reading.give(*block);
      if (block.has_value() || !is_ours(object.key)) {
        const std::lock_guard lock(mutex_);
        (block.has_value() ? result_.behind_end : result_.foreign).add(object.key);
      }
      return true;
    });
    reading.finish();
    return result_;
  }

 private:
  void look_at(BlockNumber block) {
    const std::string name = format_.name_of(block);
    std::string fault;
    std::uint64_t size_bytes = 0;
    try {
      const auto verified = verify(block, name);
      if (!verified.has_value()) return;
      size_bytes = *verified;
    } catch (const Error& error) {
      if (error.code() != EIO) throw;
      fault = error.what();
    }
    if (!fault.empty() && !store_.look_up(name).has_value()) return;
    count(block, size_bytes, fault);
  }

  // `fault` is empty for a good object.
  void count(BlockNumber block, std::uint64_t size_bytes, const std::string& fault) {
    const std::lock_guard lock(mutex_);
    ++result_.objects;
    if (format_.names_are_ordered()) {
      const double position =
          100.0 * static_cast<double>(block.value + 1) / static_cast<double>(end_);
      result_.position_percent = std::max(position, result_.position_percent.value_or(0));
    }
    if (fault.empty()) {
      result_.bytes += size_bytes;
    } else {
      ++result_.damaged;
      events_.damaged(format_.name_of(block), fault);
    }
    if (events_.progress) events_.progress(result_);
  }

  // The object's size. Nothing: there is none any more.
  std::optional<std::uint64_t> verify(BlockNumber block, const std::string& name) {
    std::vector<std::byte> body(layout_.object_size + format_.overhead_bytes());
    const auto object = store_.fetch(name, body);
    if (!object.has_value()) return std::nullopt;
    if (format_.is_stored_plain(*object)) return object->size_bytes;
    if (format_.is_plain()) {
      throw Error(EIO, fmt::format("{}: {} bytes long, where {} are expected", name,
                                   object->size_bytes, layout_.object_size));
    }
    std::vector<std::byte> data(layout_.object_size);
    format_.decode(block, std::span(body).first(object->size_bytes), object->attributes, data);
    return object->size_bytes;
  }

  [[nodiscard]] bool is_ours(const std::string& name) const {
    if (name == layout_.mount_token) return true;
    const std::string below = layout_.key.empty() ? "" : layout_.key + "/";
    return name == ObjectNames(layout_.key).descriptor() || name == lease_object_key(layout_.key) ||
           name.starts_with(below + "nbdstack-probe-");
  }

  ObjectStore& store_;
  const VolumeLayout& layout_;
  const BlockFormat& format_;
  const CheckEvents& events_;
  const std::uint64_t end_;  // the number of blocks
  std::mutex mutex_;         // protects result_, and is held while an event is told
  CheckResult result_;
};

}  // namespace

void OtherObjects::add(const std::string& name) {
  ++count;
  if (examples.size() < kExamples_max) examples.push_back(name);
}

CheckResult check_volume(ObjectStore& store, const VolumeLayout& layout, std::size_t requests,
                         const CheckEvents& events) {
  return Check(store, layout, events).run(requests);
}

}  // namespace nbdstack
