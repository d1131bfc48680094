// Histories of two hosts (hosts_history.hpp).
//
// NBDSTACK_HISTORIES sets how many are tried; NBDSTACK_CRASH_SEED the first seed: with both, the
// history of one seed is played again.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/crash/hosts_history.hpp"
#include "tests/unit/fakes/sanitizer.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kHistories = kSanitized ? 300 : 10000;
constexpr unsigned kFaultsShown = 5;

std::uint64_t setting(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::stoull(value);
}

TEST(HostsCrash, WhatWasFlushedIsReadByWhoeverOwnsTheVolume) {
  const LogOfErrors log;
  const std::uint64_t first = setting("NBDSTACK_CRASH_SEED", 1);
  const std::uint64_t histories = setting("NBDSTACK_HISTORIES", kHistories);
  HostsHistory::Counts counts;
  unsigned faults = 0;
  for (std::uint64_t seed = first; seed < first + histories && faults < kFaultsShown; ++seed) {
    HostsHistory history(seed, {});
    history.run();
    counts += history.counts();
    if (history.fault().empty()) continue;
    ++faults;
    ADD_FAILURE() << "NBDSTACK_CRASH_SEED=" << seed << ": " << history.fault();
  }
  std::cout << fmt::format(
      "{} lives, {} takeovers, {} refusals, {} requests of who had lost, {} flushes, {} changes "
      "done late\n",
      counts.lives, counts.takeovers, counts.refusals, counts.lost, counts.flushes, counts.late);
  if (histories < kHistories) return;
  EXPECT_GT(counts.takeovers, histories / 2);
  EXPECT_GT(counts.refusals, histories / 50);
  EXPECT_GT(counts.lost, histories / 20);
  EXPECT_GT(counts.flushes, histories);
  EXPECT_GT(counts.late, histories / 20);
}

// Histories that find a fault, of the first so many.
std::uint64_t found(const TakenOut& taken_out, std::uint64_t histories) {
  const LogOfErrors log;
  std::uint64_t count = 0;
  std::string first;
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    HostsHistory history(seed, taken_out);
    history.run();
    if (history.fault().empty()) continue;
    if (count++ == 0) first = fmt::format("seed {}: {}", seed, history.fault());
  }
  std::cout << fmt::format("{} of {} histories; {}\n", count, histories,
                           first.substr(0, first.find('\n')));
  return count;
}

// What the histories are there to find, one thing at a time taken out.
TEST(HostsCrashControl, ConditionsThatAreIgnored) {
  EXPECT_GT(found({.cloud = {.ignores_conditions_of_blocks = true}}, 500), 3U);
}
TEST(HostsCrashControl, ListingsThatAreBelieved) {
  EXPECT_GT(found({.cloud = {.listings_are_proof = true}}, 50), 3U);
}
TEST(HostsCrashControl, TermsThatAreNotTold) {
  EXPECT_GT(found({.hides_terms = true}, 150), 3U);
}
TEST(HostsCrashControl, ALeaseThatIsNeverLost) {
  EXPECT_GT(found({.never_loses = true}, 150), 3U);
}
TEST(HostsCrashControl, ACacheThatAsksNobody) {
  EXPECT_GT(found({.asks_nobody = true}, 600), 3U);
}
TEST(HostsCrashControl, DirtyBlocksThatAreForcedUponTheVolume) {
  EXPECT_GT(found({.always_forces = true}, 150), 3U);
}
TEST(HostsCrashControl, RecordsOfBlocksThatAreBelievedWhoeverLeftThem) {
  EXPECT_GT(found({.believes_every_record = true}, 500), 3U);
}

}  // namespace
}  // namespace nbdstack::testing
