#include "plugins/s3/lease_record.hpp"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "nbdstack-lease";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kText_bytes_max = 255;
constexpr std::size_t kOwnerDigits = 32;
constexpr std::array<std::string_view, 12> kFields{
    "format",     "version", "state",         "owner", "host",     "pid",
    "start-time", "boot-id", "pid-namespace", "since", "renewals", "duration-ms"};

[[noreturn]] void refuse(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL,
              fmt::format("{}: not a lease that this version understands: {}; when it is certain "
                          "that nobody writes the volume, own=force replaces it",
                          object_name, reason));
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// What the machine says of itself, in the form that parse() accepts.
std::string printable(std::string text) {
  text.resize(std::min(text.size(), kText_bytes_max));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

std::uint64_t number_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_number_unsigned()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no number", field));
  }
  return found->get<std::uint64_t>();
}

std::string text_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_string()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no text", field));
  }
  std::string text = found->get<std::string>();
  if (text.size() > kText_bytes_max || !is_printable(text)) {
    refuse(object_name, fmt::format("\"{}\" is longer than {} bytes or not printable ASCII", field,
                                    kText_bytes_max));
  }
  return text;
}

// Format and version come first: the other fields mean something only after them.
void check_kind(const Json& json, const std::string& object_name) {
  const std::string format = text_of(json, "format", object_name);
  if (format != kFormat) refuse(object_name, fmt::format("its format is \"{}\"", format));
  const std::uint64_t version = number_of(json, "version", object_name);
  if (version != kVersion) {
    refuse(object_name, fmt::format("it is of version {}, and version {} is the only one known",
                                    version, kVersion));
  }
  for (const auto& item : json.items()) {
    if (std::find(kFields.begin(), kFields.end(), item.key()) == kFields.end()) {
      refuse(object_name, "it has a field that is unknown");
    }
  }
}

LeaseRecord::State state_of(const Json& json, const std::string& object_name) {
  const std::string state = text_of(json, "state", object_name);
  if (state == "held") return LeaseRecord::State::held;
  if (state == "released") return LeaseRecord::State::released;
  refuse(object_name, fmt::format("its state is \"{}\"", state));
}

std::string owner_of(const Json& json, const std::string& object_name) {
  std::string owner = text_of(json, "owner", object_name);
  if (owner.size() != kOwnerDigits ||
      owner.find_first_not_of("0123456789abcdef") != std::string::npos) {
    refuse(object_name, fmt::format("\"owner\" is not {} hexadecimal digits", kOwnerDigits));
  }
  return owner;
}

std::chrono::milliseconds duration_of(const Json& json, const std::string& object_name) {
  const std::uint64_t duration_ms = number_of(json, "duration-ms", object_name);
  if (duration_ms < static_cast<std::uint64_t>(kLeaseDuration_min.count()) ||
      duration_ms > static_cast<std::uint64_t>(kLeaseDuration_max.count())) {
    refuse(object_name, fmt::format("a duration of {} ms is not possible", duration_ms));
  }
  return std::chrono::milliseconds(duration_ms);
}

std::string random_owner() {
  std::random_device random;
  std::string owner;
  for (int i = 0; i < 4; ++i) owner += fmt::format("{:08x}", random());
  return owner;
}

}  // namespace

LeaseRecord LeaseRecord::make(const Processes& processes, std::chrono::milliseconds duration) {
  LeaseRecord record{.state = State::held,
                     .owner = random_owner(),
                     .process = processes.self(),
                     .since = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))),
                     .renewals = 0,
                     .duration = duration};
  record.process.pid = 0;
  record.process.start_time = 0;
  return record;
}

LeaseRecord LeaseRecord::parse(const std::string& text, const std::string& object_name) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) refuse(object_name, "it is no JSON object");
  check_kind(json, object_name);
  const std::uint64_t pid = number_of(json, "pid", object_name);
  if (pid > std::numeric_limits<std::int32_t>::max()) {
    refuse(object_name, fmt::format("a pid of {} is not possible", pid));
  }
  return {.state = state_of(json, object_name),
          .owner = owner_of(json, object_name),
          .process = {.host_name = text_of(json, "host", object_name),
                      .pid = static_cast<std::int64_t>(pid),
                      .start_time = number_of(json, "start-time", object_name),
                      .boot_id = text_of(json, "boot-id", object_name),
                      .pid_namespace = text_of(json, "pid-namespace", object_name)},
          .since = text_of(json, "since", object_name),
          .renewals = number_of(json, "renewals", object_name),
          .duration = duration_of(json, object_name)};
}

std::string LeaseRecord::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["state"] = state == State::held ? "held" : "released";
  json["owner"] = owner;
  json["host"] = printable(process.host_name);
  json["pid"] = static_cast<std::uint64_t>(process.pid);
  json["start-time"] = process.start_time;
  json["boot-id"] = printable(process.boot_id);
  json["pid-namespace"] = printable(process.pid_namespace);
  json["since"] = since;
  json["renewals"] = renewals;
  json["duration-ms"] = static_cast<std::uint64_t>(duration.count());
  return json.dump(2) + "\n";
}

std::string LeaseRecord::owner_in_words() const {
  const std::string pid =
      process.pid == 0 ? std::string("still starting") : fmt::format("pid {}", process.pid);
  return fmt::format("nbdkit on {}, {}, since {}",
                     process.host_name.empty() ? "a host without a name" : process.host_name, pid,
                     since);
}

std::string lease_object_key(const std::string& volume_key) {
  return (volume_key.empty() ? "" : volume_key + "/") + "nbdstack-lease.json";
}

void check_lease_duration(std::chrono::milliseconds duration) {
  if (duration >= kLeaseDuration_min && duration <= kLeaseDuration_max) return;
  const auto seconds = [](auto time) { return std::chrono::duration<double>(time).count(); };
  throw Error(EINVAL, fmt::format("lease-time must be from {} s to {} s",
                                  seconds(kLeaseDuration_min), seconds(kLeaseDuration_max)));
}

}  // namespace nbdstack
