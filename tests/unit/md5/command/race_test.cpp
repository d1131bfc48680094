// A pass beside a server that changes the disk, crashes and comes back, in every order: whatever
// the pass does is an event at which the server may take its next step. Nothing of it is damage;
// what was damaged before is found all the same.
//
// The server's steps are those of the filter, cut to pieces: a change is begun in the file, half of
// the data arrives, the other half, the record, the end; what is to be settled is noted, the disk
// is flushed, it is settled. Killed, it leaves everything as it is; with the disk below, some of
// what was not flushed is gone, too. Recovery may be killed halfway.
//
// There are three contents that a block may have, so that it often has the one before the last
// again. Seconds are the fake clock's, which goes on a little at each event.
#include <gmock/gmock.h>

#include <random>

#include "tests/unit/md5/command/verify_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kSmallBlock = 512;
constexpr std::uint64_t kDamagedBlock = 590;
constexpr std::array<std::uint64_t, 4> kBlocksInUse{0, 1, 300, 301};

class Storm {
 public:
  Storm(std::uint64_t seed, FakeLayer& below, FakeClock& clock)
      : random_(seed),
        one_in_(2 + seed % 12),
        below_(below),
        clock_(clock),
        file_(open_digests(disk, kSmallBlock)) {
    // A known and flushed beginning.
    for (const std::uint64_t block : kBlocksInUse) put_whole(block);
    put_whole(kDamagedBlock);
    flush_all();
    is_beginning_ = false;
    below_.fill({kDamagedBlock * kSmallBlock, 1}, std::byte{0xff});
  }

  void event() {
    clock_.advance(milliseconds(random_() % 150));
    while (random_() % one_in_ == 0) step();
  }

  // Everything ends well.
  void calm_down() {
    while (!file_) start();
    if (change_) end_change();
    flush_all();
  }

  SimulatedDisk disk;

 private:
  enum class Phase : std::uint8_t { begun, half, whole, recorded };

  void step() {
    if (!file_) {
      if (random_() % 4 == 0) start();
    } else if (random_() % 12 == 0) {
      crash();
    } else if (random_() % 3 == 0) {
      flush_step();
    } else if (change_) {
      change_step();
    } else {
      begin_change(kBlocksInUse.at(random_() % kBlocksInUse.size()));
    }
  }

  void begin_change(std::uint64_t block) {
    auto begun = file_->begin({block}, file_->load({block}, 1));
    ASSERT_TRUE(begun.has_value());
    change_.emplace(std::move(*begun));
    block_ = block;
    data_ = pattern(kSmallBlock, random_() % 3);
    phase_ = Phase::begun;
  }

  void change_step() {
    const std::uint64_t offset = block_ * kSmallBlock;
    const std::span<const std::byte> data(data_);
    switch (phase_) {
      case Phase::begun:
        below_.pwrite(data.first(kSmallBlock / 2), offset, Durability::on_flush);
        phase_ = Phase::half;
        return;
      case Phase::half:
        below_.pwrite(data, offset, Durability::on_flush);
        phase_ = Phase::whole;
        return;
      case Phase::whole: {
        std::optional<Content> content;
        // Now and then it has failed below.
        if (is_beginning_ || random_() % 8 != 0) content = Content{md5(data_), kSmallBlock};
        change_->record({&content, 1});
        stamp();
        phase_ = Phase::recorded;
        return;
      }
      case Phase::recorded:
        change_.reset();
    }
  }
  void end_change() {
    while (change_) change_step();
  }
  void put_whole(std::uint64_t block) {
    begin_change(block);
    end_change();
  }

  // The record was made by the machine's clock.
  void stamp() const {
    auto record = file_->load({block_}, 1).front();
    if (!record) return;
    const auto now = clock_.now().time_since_epoch();
    record->written_at_s = std::chrono::duration_cast<seconds>(now).count();
    put_record(disk, {block_}, record);
  }

  void flush_step() {
    if (!quiet_) {
      quiet_ = file_->quiet();
    } else if (!flushed_below_) {
      durable_ = below_.content();
      flushed_below_ = true;
    } else {
      file_->settle(*quiet_);
      quiet_.reset();
      flushed_below_ = false;
    }
  }
  void flush_all() {
    while (quiet_) flush_step();
    for (int i = 0; i < 3; ++i) flush_step();
  }

  void crash() {
    change_.reset();
    quiet_.reset();
    flushed_below_ = false;
    file_.reset();
    if (random_() % 2 == 0) return;
    for (const std::uint64_t block : kBlocksInUse) {
      if (random_() % 2 == 0) continue;
      const std::uint64_t offset = block * kSmallBlock;
      below_.pwrite(std::span(durable_).subspan(offset, kSmallBlock), offset, Durability::on_flush);
    }
  }

  // May be killed again before it serves.
  void start() {
    std::uint64_t operations = random_() % 6;
    const bool survives = random_() % 2 == 0;
    if (!survives) {
      disk.set_hook([operations](const SimulatedDisk::Operation&) mutable {
        if (operations-- == 0) throw Error(EIO, "told to fail");
      });
    }
    try {
      file_ = open_digests(disk, kSmallBlock);
    } catch (const Error&) {
      ASSERT_FALSE(survives);
    }
    disk.set_hook({});
  }

  std::mt19937_64 random_;
  const std::uint64_t one_in_;  // of the events is followed by a step: busy servers and slow ones
  bool is_beginning_ = true;
  FakeLayer& below_;
  FakeClock& clock_;
  Bytes durable_;
  std::unique_ptr<Md5File> file_;  // none: no server
  std::optional<Md5File::Change> change_;
  std::uint64_t block_ = 0;
  Bytes data_;
  Phase phase_ = Phase::begun;
  std::optional<OpenRegions::Quiet> quiet_;
  bool flushed_below_ = false;
};

class RaceTest : public ::testing::Test {
 protected:
  VerifyResult verify(Storm& storm, FakeLayer& below, FakeClock& clock) {
    FakeExport reader(below);
    const auto event = [&storm] { storm.event(); };
    const auto after_look = std::make_shared<ReadHook>();
    after_look->set([&](const Range& /*range*/) { event(); });
    reader.before_read = reader.after_read = [&](const Range& /*range*/) { event(); };
    reader.on_flush = event;
    WatchedFile file(storm.disk.directory()->open(kFileName), after_look);
    KnownBlocks known(file, reader.size_bytes(), clock,
                      [](std::uint64_t offset) { return offset; });
    VerifyPass pass(known, reader, hashing_, clock, {.requests = 2, .run_bytes = 2 * kSmallBlock},
                    {.found = [&](const Finding& finding,
                                  const std::string&) { found.push_back(finding.block.value); },
                     .progress = [](const VerifyResult&, double) {}});
    return pass.run();
  }

  std::vector<std::uint64_t> found;

 private:
  WorkerPool hashing_{0};
};

TEST_F(RaceTest, NothingOfAServersLifeIsDamage) {
  constexpr std::uint64_t kSeeds = 2000;
  VerifyResult sum;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    FakeClock clock;
    FakeLayer below(600 * kSmallBlock);
    Storm storm(seed, below, clock);
    found.clear();
    const VerifyResult result = verify(storm, below, clock);
    ASSERT_THAT(found, ::testing::ElementsAre(kDamagedBlock)) << "seed " << seed;
    sum.verified += result.verified;
    sum.doubtful_right += result.doubtful_right;
    sum.doubtful_different += result.doubtful_different;
    sum.changed += result.changed;
    storm.calm_down();
  }
  // Each of the ways that it may go was gone often.
  EXPECT_GT(sum.verified, kSeeds / 50);
  EXPECT_GT(sum.doubtful_right, kSeeds / 50);
  EXPECT_GT(sum.doubtful_different, kSeeds / 50);
  EXPECT_GT(sum.changed, kSeeds / 50);
}

}  // namespace
}  // namespace nbdstack::testing
