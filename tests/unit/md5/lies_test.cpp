// A layer below that lies by seed: every lie about a remembered block is caught, none passed on.
//
// Each case runs the same kind of workload against a model. That all lies are caught is not taken
// from what Md5Layer says: what reaches the layer below is compared with what the requests need,
// and what goes beyond that must be the reads that the lies told make necessary, one by one.
#include <gmock/gmock.h>

#include <array>
#include <cstring>
#include <deque>
#include <random>
#include <thread>

#include "tests/unit/fakes/lying_layer.hpp"
#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::HasSubstr;

constexpr unsigned kRandomRequests = 2500;
constexpr std::uint64_t kMostBlocksAtOnce = 4;

struct RandomRequest {
  Op op;  // pread, pwrite or zero
  Range range;
  Bytes data;  // written
};

// Random requests inside a part of the disk, on block bounds and off them.
class RandomRequests {
 public:
  RandomRequests(unsigned seed, const Range& area) : area_(area), random_(seed) {}

  RandomRequest next() {
    const unsigned chance = random_() % 10;
    RandomRequest request{chance < 5 ? Op::pread : chance < 8 ? Op::pwrite : Op::zero, place(), {}};
    if (request.op == Op::pwrite) request.data = pattern(request.range.length, random_());
    return request;
  }

 private:
  Range place() {
    const bool whole = random_() % 2 == 0;
    const std::uint64_t unit = whole ? kBlock : 1;
    const std::uint64_t most = kMostBlocksAtOnce * kBlock / unit;
    const std::uint64_t offset = area_.offset + random_() % area_.length / unit * unit;
    // Short ones as often as long ones.
    const std::uint64_t length = (1 + random_() % (1 + random_() % most)) * unit;
    return Range{offset, length}.intersection(area_);
  }

  const Range area_;
  std::mt19937 random_;
};

struct Answer {
  int code = 0;  // errno
  std::string message;
  Bytes data;  // read
};

Answer perform(Layer& layer, const RandomRequest& request) {
  Answer answer;
  answer.code = error_of(
      [&] {
        if (request.op == Op::pread) {
          answer.data.resize(request.range.length);
          layer.pread(answer.data, request.range.offset);
        } else if (request.op == Op::pwrite) {
          layer.pwrite(request.data, request.range.offset, Durability::on_flush);
        } else {
          layer.zero(request.range.length, request.range.offset, {});
        }
      },
      &answer.message);
  return answer;
}

// What the disk must hold.
class DiskModel {
 public:
  // The bytes of `part`, which the request changes.
  void apply(const RandomRequest& request, const Range& part) {
    for (std::uint64_t at = part.offset; at < part.end(); ++at) {
      bytes_[at] = request.op == Op::zero ? std::byte{0} : request.data[at - request.range.offset];
    }
  }
  [[nodiscard]] bool equals(const Bytes& found, std::uint64_t offset) const {
    return found.empty() || std::memcmp(found.data(), bytes_.data() + offset, found.size()) == 0;
  }

 private:
  Bytes bytes_ = Bytes(kDiskSize);
};

class Md5LiesTest : public Md5Test, public ::testing::WithParamInterface<unsigned> {
 protected:
  // Every block is remembered from here on: as zeros, which is what the disk holds.
  void open_over_lies(LieLasts lasts, unsigned one_in, Duration retry_time) {
    lying.emplace(below, LyingLayer::Options{GetParam(), kBlock, lasts, one_in});
    const Md5Options options{
        .table_blocks = 100, .cache_time = Duration::zero(), .retry_time = retry_time};
    shared = std::make_shared<Md5Export>(options, kBlock, clock);
    layer = std::make_unique<Md5Layer>(*lying, shared);
    write(Bytes(kDiskSize), 0);
  }

  // The parts of blocks at the ends of a change, which Md5Layer merges with what it reads.
  [[nodiscard]] std::vector<Range> merged_parts(const RandomRequest& request) const {
    if (request.op == Op::pread) return {};
    const auto pieces = geometry.split(request.range);
    std::vector<Range> parts;
    for (const BlockPiece& piece : pieces) {
      if (geometry.is_whole(piece)) continue;
      parts.push_back({request.range.offset + piece.offset_in_request, piece.length});
    }
    return parts;
  }

  // Reads below that the request needs when each is answered right.
  [[nodiscard]] std::size_t reads_needed(const RandomRequest& request) const {
    return request.op == Op::pread ? 1 : merged_parts(request).size();
  }

  void expect_success(const RandomRequest& request, const Answer& answer) {
    ASSERT_EQ(answer.code, 0) << answer.message;
    if (request.op == Op::pread) {
      ASSERT_TRUE(model.equals(answer.data, request.range.offset)) << "wrong bytes were passed on";
    } else {
      model.apply(request, request.range);
    }
  }

  void expect_disk_as_modelled() const {
    ASSERT_TRUE(model.equals(below.content(), 0)) << "the disk was changed otherwise than asked";
  }

  // Each lie was followed by a read of its block alone, which was right.
  void expect_healed(const RandomRequest& request, const std::vector<AnsweredRead>& reads) {
    std::deque<BlockNumber> lied_about;
    std::size_t others = 0;
    for (const AnsweredRead& read : reads) {
      if (lied_about.empty()) {
        ++others;
        for (const ToldLie& lie : read.lies) lied_about.push_back(lie.block);
        continue;
      }
      ASSERT_EQ(read.range, geometry.range_of(lied_about.front()));
      ASSERT_TRUE(read.lies.empty());
      lied_about.pop_front();
      ++caught;
    }
    ASSERT_TRUE(lied_about.empty())
        << "block " << lied_about.front().value << " was not read again";
    ASSERT_EQ(others, reads_needed(request));
  }

  // The read that was lied to is the end of the request: its first false block is read again, as
  // long as there is time, and named.
  void expect_refused(const RandomRequest& request, const Answer& answer,
                      const std::vector<AnsweredRead>& reads, std::size_t first_lie) {
    const BlockNumber block = reads[first_lie].lies.front().block;
    ASSERT_EQ(answer.code, EIO);
    ASSERT_THAT(answer.message, HasSubstr(fmt::format("md5: block {} (", block.value)));
    for (std::size_t i = first_lie + 1; i < reads.size(); ++i) {
      ASSERT_EQ(reads[i].range, geometry.range_of(block));
      ASSERT_FALSE(reads[i].lies.empty());
    }
    if (request.op == Op::pread || shared->options.retry_time > Duration::zero()) {
      ASSERT_GT(reads.size(), first_lie + 1) << "not read again";
    }
    // Of a change, the parts that could be merged before are done.
    for (const Range& part : merged_parts(request)) {
      if (geometry.block_at(part.offset) == block) break;
      model.apply(request, part);
    }
    expect_disk_as_modelled();
    for (const AnsweredRead& read : reads) caught += read.lies.size();
    ++refused[request.op];
  }

  void run_against_lies_that_pass() {
    RandomRequests requests(GetParam(), {0, kDiskSize});
    for (unsigned number = 0; number < kRandomRequests; ++number) {
      SCOPED_TRACE(fmt::format("request {}", number));
      const RandomRequest request = requests.next();
      const Answer answer = perform(*layer, request);
      expect_success(request, answer);
      expect_healed(request, lying->take_reads());
      if (HasFatalFailure()) return;
    }
    expect_disk_as_modelled();
  }

  void run_against_lies_that_last() {
    RandomRequests requests(GetParam(), {0, kDiskSize});
    for (unsigned number = 0; number < kRandomRequests; ++number) {
      SCOPED_TRACE(fmt::format("request {}", number));
      const RandomRequest request = requests.next();
      const Answer answer = perform(*layer, request);
      const auto reads = lying->take_reads();
      const auto first_lie = static_cast<std::size_t>(
          std::find_if(reads.begin(), reads.end(),
                       [](const AnsweredRead& read) { return !read.lies.empty(); }) -
          reads.begin());
      if (first_lie == reads.size()) {
        expect_success(request, answer);
        ASSERT_EQ(reads.size(), reads_needed(request));
      } else {
        expect_refused(request, answer, reads, first_lie);
      }
      if (HasFatalFailure()) return;
    }
    // What was refused is there as soon as the layer below tells the truth.
    lying->become_honest();
    EXPECT_TRUE(model.equals(read(0, kDiskSize), 0));
    expect_disk_as_modelled();
  }

  // All kinds were told, often, and all that were told were caught.
  void expect_all_caught(std::size_t least_of_a_kind) const {
    std::size_t told = 0;
    for (std::size_t kind = 0; kind < kKindsOfLies; ++kind) {
      const std::size_t of_kind = lying->told(static_cast<Lie>(kind));
      EXPECT_GE(of_kind, least_of_a_kind) << "of kind " << kind;
      told += of_kind;
    }
    EXPECT_EQ(told, caught);
  }

  const BlockGeometry geometry{kDiskSize, kBlock};
  std::optional<LyingLayer> lying;
  DiskModel model;
  std::size_t caught = 0;             // lies
  std::map<Op, std::size_t> refused;  // requests
};

TEST_P(Md5LiesTest, LieOfOneReadIsHealedByReadingAgain) {
  open_over_lies(LieLasts::one_read, 3, seconds(30));
  run_against_lies_that_pass();
  expect_all_caught(50);
}

TEST_P(Md5LiesTest, LieThatLastsIsEioAtOnce) {
  open_over_lies(LieLasts::until_changed, 10, Duration::zero());
  run_against_lies_that_last();
  expect_all_caught(50);
  for (const Op op : {Op::pread, Op::pwrite, Op::zero}) EXPECT_GE(refused[op], 50U);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_P(Md5LiesTest, LieThatLastsIsEioAfterTheRetryTime) {
  open_over_lies(LieLasts::until_changed, 10, milliseconds(500));
  run_against_lies_that_last();
  expect_all_caught(50);
  std::size_t requests = 0;
  for (const auto& [op, count] : refused) requests += count;
  EXPECT_EQ(clock.slept(), requests * milliseconds(500));
}

// Each thread in blocks of its own, so that it knows what it must read; the layer below and the
// table are everybody's.
TEST_P(Md5LiesTest, ThreadsAreNotLiedToEither) {
  constexpr std::uint64_t kAreas = 4;
  constexpr std::uint64_t kAreaSize = kBlocks / kAreas * kBlock;
  open_over_lies(LieLasts::one_read, 3, seconds(30));
  std::array<std::size_t, kAreas> needed{};
  const auto work = [&](std::uint64_t number) {
    RandomRequests requests(GetParam() * 100 + static_cast<unsigned>(number),
                            {number * kAreaSize, kAreaSize});
    DiskModel own;
    for (unsigned step = 0; step < kRandomRequests / kAreas; ++step) {
      const RandomRequest request = requests.next();
      needed.at(number) += reads_needed(request);
      const Answer answer = perform(*layer, request);
      ASSERT_EQ(answer.code, 0) << answer.message;
      own.apply(request, request.op == Op::pread ? Range{} : request.range);
      ASSERT_TRUE(own.equals(answer.data, request.range.offset)) << "request " << step;
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t number = 0; number < kAreas; ++number) threads.emplace_back(work, number);
  for (std::thread& thread : threads) thread.join();
  const std::size_t reads = lying->take_reads().size();
  for (const std::size_t each : needed) caught -= each;
  caught += reads;  // a read for each lie
  expect_all_caught(50);
}

// The control: what the workload gets to see without Md5Layer.
TEST_P(Md5LiesTest, WithoutTheCheckEveryLieIsPassedOn) {
  for (const LieLasts lasts : {LieLasts::one_read, LieLasts::until_changed}) {
    open_over_lies(lasts, 3, Duration::zero());
    RandomRequests requests(GetParam(), {0, kDiskSize});
    model = DiskModel();
    std::size_t wrong = 0;
    std::size_t lied_to = 0;
    for (unsigned number = 0; number < kRandomRequests; ++number) {
      const RandomRequest request = requests.next();
      const Answer answer = perform(*lying, request);
      ASSERT_EQ(answer.code, 0);
      model.apply(request, request.op == Op::pread ? Range{} : request.range);
      wrong += model.equals(answer.data, request.range.offset) ? 0 : 1;
    }
    for (const AnsweredRead& read : lying->take_reads()) lied_to += read.lies.empty() ? 0 : 1;
    EXPECT_GE(wrong, 300U);
    EXPECT_EQ(wrong, lied_to);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Md5LiesTest, ::testing::Range(1U, 5U));

}  // namespace
}  // namespace nbdstack::testing
