#include "plugins/s3/command/verbs.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/command/check_summary.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/command/verb_context.hpp"
#include "plugins/s3/command/version_removal.hpp"
#include "plugins/s3/command/volume_check.hpp"
#include "plugins/s3/command/volume_cost.hpp"
#include "plugins/s3/command/volume_create.hpp"
#include "plugins/s3/command/volume_delete.hpp"
#include "plugins/s3/command/volume_passphrase.hpp"
#include "plugins/s3/command/volume_report.hpp"
#include "plugins/s3/command/volume_resize.hpp"
#include "plugins/s3/serving/volume_set.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/volume/volume_identity.hpp"
#include "plugins/s3/volume/volume_open.hpp"

namespace nbdstack {
namespace {

void print(const std::string& text) {
  fmt::print("{}", text);
}

class VerbRun : private VerbContext {
 public:
  using VerbContext::VerbContext;

  int run() {
    if (!settings_.request.key_as_given.empty()) {
      settings_.request.key = resolve_key(*checked_store(), settings_.request);
    }
    switch (command_.verb()) {
      case Verb::create:
        return create();
      case Verb::show:
        return show();
      case Verb::list:
        return list();
      case Verb::resize:
        return resize();
      case Verb::check:
        return check();
      case Verb::remove:
        return remove();
      case Verb::passphrase:
        return change_passphrase();
      case Verb::help:
      case Verb::version:
        break;  // main.cpp answers these
    }
    throw Error(EINVAL, "the verb is not one for a volume");
  }

 private:
  // --- reading ---

  int show() {
    const auto store = checked_store();
    auto report = report_volume(*store, find_volume(*store, settings_.request),
                                settings_.connections, [this](std::uint64_t objects) {
                                  if (progress_.is_due())
                                    progress_.show(fmt::format("{} objects", objects));
                                });
    progress_.clear();
    report.cost = cost_of(report);
    print(command_.json() ? report.to_json() : report.to_text());
    return 0;
  }

  // The report is worth printing without it.
  [[nodiscard]] std::optional<VolumeCost> cost_of(const VolumeReport& report) const {
    const Prices prices = command_.prices().empty() ? Prices() : read_prices(command_.prices());
    try {
      return find_volume_cost(read_stacks(default_places()), stores_.place(), report.volume.key,
                              static_cast<double>(report.stored.bytes), prices);
    } catch (const Error& error) {
      log::debug("the cost is not known: {}", error.what());
      return std::nullopt;
    }
  }

  int list() {
    const auto names = list_volumes(*checked_store(), settings_.request.key, settings_.connections);
    if (command_.json()) {
      print(nlohmann::json(names).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
            "\n");
      return 0;
    }
    for (const std::string& name : names) print(name + "\n");
    return 0;
  }

  int check() {
    const auto look = checked_store();
    VolumeLayout layout = layout_to_check(*look);
    std::unique_ptr<ObjectStore> writing;
    std::optional<Renewal> renewal;
    KnownBlocks known;
    if (command_.renew()) {
      check_renewable(layout);
      renewal = Renewal{.conditions = probe_conditional_puts(*look, layout.key),
                        .check_writable = change_options().check_writable};
      take_lease();
      writing = leased_store();
      layout = layout_to_check(*writing);  // the former owner of the lease may have changed it
      known = handover(*writing).recall(remembered(layout));
    }
    const CheckResult result = check_volume(
        writing != nullptr ? *writing : *look, layout, settings_.connections,
        {.damaged = [this](const auto& name, const auto& reason) { say_damaged(name, reason); },
         .progress =
             [this](const CheckResult& so_far) {
               if (progress_.is_due()) progress_.show(in_words(so_far));
             }},
        renewal);
    if (writing != nullptr) handover(*writing).hand_on(remembered(layout), known);
    progress_.clear();
    print_remarks(result, command_.renew());
    fmt::print(stderr, "{}: {} object(s) checked, {} bytes, {} damaged\n", layout.place,
               result.objects, result.bytes, result.damaged);
    return result.damaged == 0 ? 0 : 1;
  }

  [[nodiscard]] VolumeLayout layout_to_check(ObjectStore& store) const {
    VolumeRequest request = settings_.request;
    request.readonly = true;
    VolumeLayout layout = open_volume(store, request);
    if (layout.kind != VolumeKind::image) return layout;
    throw Error(EINVAL,
                fmt::format("{} is a single object: only volumes can be checked", layout.place));
  }

  void check_renewable(const VolumeLayout& layout) const {
    refuse_readonly();
    if (layout.layout == Layout::own) return;
    throw Error(EINVAL, fmt::format("{} holds a volume of s3backer's, whose objects carry no "
                                    "checksums of nbdstack's: leave out --renew",
                                    layout.place));
  }

  void say_damaged(const std::string& name, const std::string& reason) {
    progress_.clear();
    print(name + "\n");
    std::fflush(stdout);
    log::error("{}", reason);
  }

  // --- changing ---

  int create() {
    refuse_readonly();
    const auto store = stores_.make_checked(settings_.request.key, true, {.clock = clock_});
    const VolumeLayout layout = create_volume(*store, settings_.request);
    record_that_nothing_is_stored(layout);
    print(fmt::format("created a volume of {} bytes in {}\n", layout.size_bytes, layout.place));
    return 0;
  }

  // The first server knows then what it would have to ask for.
  void record_that_nothing_is_stored(const VolumeLayout& layout) {
    if (!layout.is_new || settings_.ownership == Ownership::none) return;
    try {
      take_lease();
      const auto store = leased_store();
      const RememberedVolume volume = remembered(layout);
      if (!lease().predecessor().has_value()) {
        handover(*store).hand_on(volume, no_blocks_stored(volume.block_count));
      }
      ownership_->give_back();
    } catch (const Error& error) {
      log::error(
          "{}: the volume is created, but not recorded as empty, so that its first server "
          "asks what is stored: {}",
          layout.place, error.what());
    }
  }

  int resize() {
    refuse_readonly();
    const auto look = checked_store();
    check_resizable(find_volume(*look, settings_.request));
    take_lease();
    const auto store = leased_store();
    // It is looked up again, because the former owner of the lease may have changed it.
    const FoundVolume volume = find_volume(*store, settings_.request);
    check_resizable(volume);
    const std::uint64_t new_size = *settings_.request.size_bytes;
    RememberedVolume memory = remembered(volume);
    ChangeOptions options = change_options();
    // A cache that knows the disk as it is may be used on when it has grown.
    if (ownership_ != nullptr && new_size >= volume.descriptor->descriptor.size_bytes) {
      options.check_writable = [this] { check_owner(); };
    }
    options.recorded = handover(*store).recall(memory);
    const ResizeResult result = resize_volume(*store, *volume.descriptor,
                                              {.key = volume.key,
                                               .new_size_bytes = new_size,
                                               .may_shrink = command_.force(),
                                               .passphrase = settings_.request.passphrase},
                                              options);
    const std::uint64_t old_count = memory.block_count;
    memory.block_count = BlockGeometry(new_size, volume.object_size).block_count();
    handover(*store).hand_on(memory, options.recorded);
    progress_.clear();
    if (memory.block_count < old_count) {
      say_what_may_be_left(*store, options.recorded, memory.block_count, old_count);
    }
    print(fmt::format("resized the volume in {} from {} to {} bytes, {} object(s) removed\n",
                      volume.place, result.old_size_bytes, new_size, result.removed_objects));
    return 0;
  }

  void check_resizable(const FoundVolume& volume) const {
    if (volume.kind != FoundKind::own) {
      throw Error(EINVAL, fmt::format("{} holds no volume with a descriptor of nbdstack's, which "
                                      "is where a size could be recorded: see nbdstack-s3 show",
                                      volume.place));
    }
    const std::uint64_t old_size = volume.descriptor->descriptor.size_bytes;
    if (*settings_.request.size_bytes < old_size && !command_.force()) {
      throw Error(EINVAL, fmt::format("size={} is smaller than the volume in {}, which has {} "
                                      "bytes, and would cut off what lies behind: give --force if "
                                      "you mean that",
                                      *settings_.request.size_bytes, volume.place, old_size));
    }
  }

  int remove() {
    refuse_readonly();
    const auto look = checked_store();
    FoundVolume volume = find_to_delete(*look);
    if (volume.kind == FoundKind::image) {
      throw Error(EINVAL, fmt::format("{} is a single object, and no volume", volume.place));
    }
    // Checked now, so that the user learns of a lack of permission to list versions before the
    // confirmation.
    const VersionScope scope = VersionScope::of(volume);
    if (command_.versions()) has_old_versions(*look, scope);
    ask(volume);
    std::uint64_t removed = 0;
    std::uint64_t versions = 0;
    if (volume.kind == FoundKind::s3backer) {
      removed = delete_s3backer_volume(
          *look, volume, change_options(), settings_.ownership == Ownership::force,
          [&] { versions = remove_if_wanted(*look, scope, change_options(), true); });
    } else {
      take_lease();
      const auto store = leased_store();
      const FoundVolume now = find_to_delete(*store);
      if (now.id() != volume.id()) {
        throw Error(EBUSY, fmt::format("{} holds another volume than a moment ago, and nothing was "
                                       "deleted: start again",
                                       now.place));
      }
      volume = now;
      ChangeOptions options = change_options();
      if (volume.kind == FoundKind::own) {
        options.recorded = handover(*store).recall(remembered(volume));
      }
      removed = delete_blocks(*store, volume, options);
      say_what_may_be_left(*store, options.recorded, 0, volume.block_count());
      versions = remove_if_wanted(*store, scope, change_options(), true);
      check_writable();
      ownership_->give_back();
      finish_deletion(*look, volume.key);
    }
    versions += remove_if_wanted(*look, scope, {.requests = settings_.connections}, false);
    progress_.clear();
    print(fmt::format("deleted the volume in {}, {} object(s)", volume.place, removed));
    print(command_.versions() ? fmt::format(", {} old version(s)\n", versions) : "\n");
    if (!command_.versions() && look->keeps_versions()) {
      fmt::print(stderr,
                 "bucket {} keeps old versions of objects, and so all data of the volume: "
                 "nbdstack-s3 delete --versions removes them\n",
                 settings_.request.bucket);
    }
    return 0;
  }

  std::uint64_t remove_if_wanted(ObjectStore& store, const VersionScope& scope,
                                 const ChangeOptions& options, bool holds_right) const {
    return command_.versions() ? remove_old_versions(store, scope, options, holds_right) : 0;
  }

  [[nodiscard]] FoundVolume find_to_delete(ObjectStore& store) const {
    return command_.versions() ? find_volume_or_versions(store, settings_.request)
                               : find_volume(store, settings_.request);
  }

  // Throws Error(ECANCELED) unless the volume's name is typed.
  void ask(const FoundVolume& volume) const {
    if (command_.yes()) return;
    if (::isatty(STDIN_FILENO) != 1) {
      throw Error(EINVAL, "delete asks first, and there is no terminal to ask on: give --yes");
    }
    const std::string name = volume.key.empty() ? settings_.request.bucket : volume.key;
    fmt::print(stderr,
               "This deletes the volume in {} ({} bytes) with all its data.\n"
               "Type its name, {}, to go on: ",
               volume.place, volume.size_bytes, name);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != name) throw Error(ECANCELED, "nothing was deleted");
  }

  int change_passphrase() {
    refuse_readonly();
    const std::string& key = settings_.request.key;
    const auto look = checked_store();
    if (!probe_conditional_puts(*look, key).honoured()) take_lease();
    const auto store = leased_store();
    const FoundVolume volume = find_volume(*store, settings_.request);
    if (volume.kind != FoundKind::own) {
      throw Error(EINVAL, fmt::format("{} holds no volume with a descriptor of nbdstack's, and the "
                                      "passphrase of another cannot be changed",
                                      volume.place));
    }
    nbdstack::change_passphrase(*store, *volume.descriptor,
                                {.key = key,
                                 .old_passphrase = *settings_.request.passphrase,
                                 .new_passphrase = command_.new_passphrase()});
    print(fmt::format("changed the passphrase of the volume in {}\n", volume.place));
    return 0;
  }
};

}  // namespace

int run_verb(const CommandLine& command) {
  return VerbRun(command).run();
}

}  // namespace nbdstack
