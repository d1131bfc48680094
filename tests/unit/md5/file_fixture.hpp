// An md5-file on a simulated disk, and a Md5Layer that uses it.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "filters/md5/md5_file.hpp"
#include "filters/md5/md5_file_layout.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"
#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {

constexpr const char* kFileName = "digests";

// A simulated crash loses one thing or another by its seed: what must hold after any is asked of
// these.
constexpr std::uint64_t kCrashSeeds = 25;

// The errors logged while it lives. One at a time.
class LoggedErrors {
 public:
  LoggedErrors() {
    lines().clear();
    log::set_sink({[](const char* line) { lines().emplace_back(line); }, [](const char*) {}});
  }
  LoggedErrors(const LoggedErrors&) = delete;
  LoggedErrors& operator=(const LoggedErrors&) = delete;
  ~LoggedErrors() {
    log::set_sink({[](const char*) {}, [](const char*) {}});
  }
  static std::vector<std::string>& lines() {
    static std::vector<std::string> logged;
    return logged;
  }
};

// What a test wants to see of the reads of a file, after they have got their data.
class ReadHook {
 public:
  using Function = std::function<void(const Range&)>;

  void set(Function function) {
    const std::lock_guard lock(mutex_);
    function_ = std::move(function);
  }
  void call(const Range& range) const {
    Function called;
    {
      const std::lock_guard lock(mutex_);
      called = function_;
    }
    if (called) called(range);
  }

 private:
  mutable std::mutex mutex_;  // protects function_; not held while it runs
  Function function_;
};

class WatchedFile final : public StorageFile {
 public:
  WatchedFile(std::unique_ptr<StorageFile> file, std::shared_ptr<const ReadHook> after_read)
      : file_(std::move(file)), after_read_(std::move(after_read)) {}

  [[nodiscard]] const std::string& path() const override { return file_->path(); }
  [[nodiscard]] std::uint64_t size_bytes() const override { return file_->size_bytes(); }
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
    file_->read_at(buffer, offset);
    after_read_->call({offset, buffer.size()});
  }
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override {
    file_->write_at(buffer, offset);
  }
  void punch_hole(std::uint64_t length, std::uint64_t offset) override {
    file_->punch_hole(length, offset);
  }
  void sync_data() override { file_->sync_data(); }

 private:
  std::unique_ptr<StorageFile> file_;
  std::shared_ptr<const ReadHook> after_read_;
};

// Makes the next operation of this kind fail; later ones work.
inline void fail_disk_once(SimulatedDisk& disk, SimulatedDisk::Kind kind, int code = EIO) {
  disk.set_hook([&disk, kind, code](const SimulatedDisk::Operation& operation) {
    if (operation.kind != kind) return;
    disk.set_hook({});
    throw Error(code, "told to fail");
  });
}
// Makes every operation of this kind fail, until the hook is set anew.
inline void fail_disk(SimulatedDisk& disk, SimulatedDisk::Kind kind, int code) {
  disk.set_hook([kind, code](const SimulatedDisk::Operation& operation) {
    if (operation.kind == kind) throw Error(code, "told to fail");
  });
}
// Holds the next sync; with a failure it fails when it goes on.
inline void hold_next_sync(SimulatedDisk& disk, Gate& gate, int failure = 0) {
  disk.set_hook([&disk, &gate, failure](const SimulatedDisk::Operation& operation) {
    if (operation.kind != SimulatedDisk::Kind::sync) return;
    disk.set_hook({});
    gate.pass();
    if (failure != 0) throw Error(failure, "told to fail");
  });
}

// What a server that starts finds or makes.
inline std::unique_ptr<Md5File> open_digests(
    const SimulatedDisk& disk, std::uint32_t block_size = kBlock,
    const std::shared_ptr<const ReadHook>& after_read = std::make_shared<ReadHook>()) {
  const auto directory = disk.directory();
  auto file = directory->open(kFileName);
  auto identity = Md5File::identity_of(*file);
  if (!identity) {
    directory->sync();
    identity = Md5File::create(*file, "", block_size);
  }
  return std::make_unique<Md5File>(std::make_unique<WatchedFile>(std::move(file), after_read),
                                   *identity);
}

// Blocks' records, put there behind the file's back.
inline void put_record(const SimulatedDisk& disk, BlockNumber block,
                       const std::optional<Md5FileRecord>& record) {
  const auto file = disk.directory()->open(kFileName);
  const auto identity = Md5File::identity_of(*file);
  const std::uint64_t seed = xxh3_64(std::as_bytes(std::span(identity->uuid)), 0);
  std::array<std::byte, kRecord_bytes> bytes{};
  encode_record(record, block, seed, bytes);
  file->write_at(bytes, offset_of_record(block));
}

// A server with an md5-file, which ends and starts again. No retries: whatever is judged wrong is
// an EIO at once.
class Md5FileTest : public Md5Test {
 protected:
  void SetUp() override { start(); }
  void TearDown() override { disk.set_hook({}); }

  void start(const Md5Options& options = {.retry_time = Duration::zero()}) {
    shared = std::make_shared<Md5Export>(options, kBlock, clock,
                                         open_digests(disk, kBlock, after_file_read));
    layer = std::make_unique<Md5Layer>(below, shared);
  }
  // As after SIGKILL: what was written to the file is in it.
  void kill() {
    layer.reset();
    shared.reset();
  }
  // As when the client leaves and the server stops.
  void stop() {
    layer->finalize();
    kill();
  }
  void restart() {
    stop();
    start();
  }
  void kill_and_start() {
    kill();
    start();
  }
  // Written, and doubtful because the server was killed before a flush.
  Bytes leave_doubtful(std::uint64_t block) {
    Bytes data = write_block(block, 1);
    kill_and_start();
    EXPECT_TRUE(record_of(block) && record_of(block)->doubtful);
    return data;
  }
  [[nodiscard]] std::optional<Md5FileRecord> record_of(std::uint64_t block) const {
    return shared->digests.file()->load({block}, 1).front();
  }
  [[nodiscard]] static Range range_of(std::uint64_t block) { return {block * kBlock, kBlock}; }
  // Whether a block is held against what was written to it, with what it holds as it is.
  [[nodiscard]] bool is_verified(std::uint64_t block) {
    corrupt_reads();
    const int code = error_of([&] { read_block(block); });
    heal();
    return code == EIO;
  }

  SimulatedDisk disk;
  std::shared_ptr<ReadHook> after_file_read = std::make_shared<ReadHook>();
};

}  // namespace nbdstack::testing
