#include "plugins/s3/lease/lease_record.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string_view>

#include "common/error.hpp"
#include "common/utc_text.hpp"
#include "plugins/s3/store/record_reader.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kLeaseFormat = "nbdstack-lease";
constexpr std::uint64_t kRecordVersion = 3;
constexpr std::uint64_t kVersionThatCountsByOne = 2;
constexpr std::uint64_t kVersionWithoutTerm = 1;
constexpr std::size_t kText_bytes_max = 255;
constexpr std::size_t kOwnerDigits = 32;
constexpr std::array<std::string_view, 15> kFields{
    "format",   "version",     "state",   "owner",         "host",
    "pid",      "start-time",  "boot-id", "pid-namespace", "since",
    "renewals", "duration-ms", "term",    "changed-term",  "unchanged-terms"};
// The number of last fields that each earlier version lacks.
constexpr std::array<std::size_t, kRecordVersion + 1> kFieldsToCome{0, 3, 1, 0};

[[noreturn]] void refuse(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL,
              fmt::format("{}: not a lease that this version understands: {}; when it is certain "
                          "that nobody writes the volume, own=force replaces it",
                          object_name, reason));
}

// Makes the machine's own names conform to parse().
std::string printable(std::string text) {
  text.resize(std::min(text.size(), kText_bytes_max));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

std::string short_text(const RecordReader& record, const char* field) {
  std::string text = record.text(field);
  if (text.size() > kText_bytes_max || !is_printable_ascii(text)) {
    record.refuse(fmt::format("\"{}\" is longer than {} bytes or not printable ASCII", field,
                              kText_bytes_max));
  }
  return text;
}

// Checks format and version first: the other fields have no meaning without them. Returns the
// version.
std::uint64_t check_kind(const RecordReader& record) {
  const std::string format = short_text(record, "format");
  if (format != kLeaseFormat) record.refuse(fmt::format("its format is \"{}\"", format));
  const std::uint64_t version = record.number("version");
  if (version < kVersionWithoutTerm || version > kRecordVersion) {
    record.refuse(fmt::format("it is of version {}, and only the versions up to {} are known",
                              version, kRecordVersion));
  }
  const std::span known(kFields);
  record.expect_no_other_fields(known.first(known.size() - kFieldsToCome.at(version)));
  return version;
}

std::optional<LeaseTerm> term_of(const RecordReader& record, std::uint64_t version) {
  if (version == kVersionWithoutTerm) return std::nullopt;
  LeaseTerm term{.number = record.number("term"), .changed_in = record.number("changed-term")};
  term.unchanged = version == kVersionThatCountsByOne ? terms_between(term.changed_in, term.number)
                                                      : record.numbers("unchanged-terms");
  if (!is_possible(term)) {
    record.refuse(fmt::format("a term of {}, the last change in term {}, is not possible",
                              term.number, term.changed_in));
  }
  return term;
}

LeaseRecord::State state_of(const RecordReader& record) {
  const std::string state = short_text(record, "state");
  if (state == "held") return LeaseRecord::State::held;
  if (state == "released") return LeaseRecord::State::released;
  record.refuse(fmt::format("its state is \"{}\"", state));
}

std::string owner_of(const RecordReader& record) {
  std::string owner = short_text(record, "owner");
  if (owner.size() != kOwnerDigits ||
      owner.find_first_not_of("0123456789abcdef") != std::string::npos) {
    record.refuse(fmt::format("\"owner\" is not {} hexadecimal digits", kOwnerDigits));
  }
  return owner;
}

std::chrono::milliseconds duration_of(const RecordReader& record) {
  const std::uint64_t duration_ms = record.number("duration-ms");
  if (duration_ms < static_cast<std::uint64_t>(kLeaseDuration_min.count()) ||
      duration_ms > static_cast<std::uint64_t>(kLeaseDuration_max.count())) {
    record.refuse(fmt::format("a duration of {} ms is not possible", duration_ms));
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
  return {.state = State::held,
          .owner = random_owner(),
          .process = processes.self(),
          .since = utc_text(std::time(nullptr)),
          .renewals = 0,
          .duration = duration};
}

LeaseRecord LeaseRecord::parse(const std::string& text, const std::string& object_name) {
  const RecordReader record(text, object_name, refuse);
  const std::uint64_t version = check_kind(record);
  const std::uint64_t pid = record.number("pid");
  if (pid > std::numeric_limits<std::int32_t>::max()) {
    record.refuse(fmt::format("a pid of {} is not possible", pid));
  }
  return {.state = state_of(record),
          .owner = owner_of(record),
          .process = {.host_name = short_text(record, "host"),
                      .pid = static_cast<std::int64_t>(pid),
                      .start_time = record.number("start-time"),
                      .boot_id = short_text(record, "boot-id"),
                      .pid_namespace = short_text(record, "pid-namespace")},
          .since = short_text(record, "since"),
          .renewals = record.number("renewals"),
          .duration = duration_of(record),
          .term = term_of(record, version)};
}

std::string LeaseRecord::to_json() const {
  nlohmann::ordered_json json;
  json["format"] = kLeaseFormat;
  json["version"] = term.has_value() ? kRecordVersion : kVersionWithoutTerm;
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
  if (term.has_value()) {
    json["term"] = term->number;
    json["changed-term"] = term->changed_in;
    json["unchanged-terms"] = term->unchanged;
  }
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
